Memory that many clients took for a while is given back to the system some seconds after it is free.
