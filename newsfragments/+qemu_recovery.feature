Guests of the QEMU driver go on when the daemon dies or is restarted, at whatever moment, and are found again; ``qemu:monitor-timeout=SECONDS`` says how long a QEMU may take to answer.
