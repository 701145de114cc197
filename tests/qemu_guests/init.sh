#!/bin/sh
# The only program of the guests that tests boot: process 1. The package's docstring tells what it prints and obeys.
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
# The console is the tests' and no terminal of a person: nothing typed is printed again.
stty -echo
option() { grep -qw "$1" /proc/cmdline; }

echo online >/sys/devices/system/memory/auto_online_blocks 2>/dev/null
for module in $(cat /modules.txt); do
    insmod "/modules/$module.ko" || echo "no-module $module"
done
for interface in /sys/class/net/*; do
    ip link set "${interface##*/}" up
done

# Keys, and the power button, which is a key of a device of its own.
watch_keys() {
    exec <"/dev/input/$1"
    name=$(cat "/sys/class/input/$1/device/name")
    while od=$(dd bs=1536 count=1 2>/dev/null | od -An -v -tu2 -w24) && [ "$od" ]; do
        # The 64 bit time, then type (1: a key), code and value (1: pressed).
        echo "$od" | while read -r _ _ _ _ _ _ _ _ type code value _; do
            [ "$type $value" = "1 1" ] || continue
            echo "key $code"
            if [ "$name" = "Power Button" ] && ! option ignore-acpi; then
                echo power-button
                sync
                poweroff -f
            fi
        done
    done
}
for device in /dev/input/event*; do
    [ -e "$device" ] && watch_keys "${device##*/}" &
done

# A count that only goes on where memory and the processor did.
count() {
    number=0
    while sleep 0.1; do
        number=$((number + 1))
        echo $number >/run/.count
        mv /run/.count /run/count
    done
}
echo 0 >/run/count
count &

uevent /bin/on-uevent &
/bin/guest-report
[ ! -e /bin/on-ready ] || /bin/on-ready

number=0
while :; do
    # Hung up, or the key for the end of input.
    read -r line || { sleep 1; continue; }
    sh -c "$line"
    echo "done $number $?"
    number=$((number + 1))
done
