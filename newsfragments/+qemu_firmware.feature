Guests with UEFI: firmware that a document names gets the variables that belong to it, ``virsh start --reset-nvram``
makes them anew, ``virsh undefine --nvram`` also removes those of firmware that the daemon chose, and a guest without
SMM is not started where the firmware needs it. Guests with an ARM processor are booted by the tests.
