Guests of the QEMU driver: documents of running guests say which channels the guest has open (``state='connected'``),
and the channel of its agent has the event "agent-lifecycle".
