#!/bin/sh
# Every command of the guests beside busybox's, by the name it is called with.
disks() {
    for disk in /sys/block/*; do
        [ -e "$disk/device" ] && describe_disk "${disk##*/}" "$1"
    done
}
# describe_disk NAME WORD: print WORD, NAME, bytes and serial ("-" for none).
describe_disk() {
    disk=/sys/block/$1
    serial=$(cat "$disk/serial" 2>/dev/null)
    # SCSI: a page of vital product data, after a header of four bytes.
    [ "$serial" ] || serial=$(dd if="$disk/device/vpd_pg80" bs=4 skip=1 2>/dev/null | tr -d '\0 ')
    echo "$2 $1 $(($(cat "$disk/size") * 512)) ${serial:--}"
}
interfaces() {
    for interface in /sys/class/net/*; do
        [ -e "$interface/device" ] && echo "$1 ${interface##*/} $(cat "$interface/address")"
    done
}
memory() { echo "$1 $(awk '$1 == "MemTotal:" {print $2}' /proc/meminfo)"; }

case ${0##*/} in
guest-report)
    echo "cmdline $(cat /proc/cmdline)"
    echo "cpus $(nproc)"
    memory memory
    disks block
    interfaces net
    echo guest-ready
    ;;
disk-write) # [DISK] NUMBER TEXT: into a sector
    disk=/dev/vda
    case $1 in /dev/*) disk=$1 && shift ;; esac
    printf '%s' "$2" | dd of="$disk" bs=512 seek="$1" conv=sync,fsync 2>/dev/null
    ;;
disk-read) # [DISK] NUMBER: the text in a sector
    disk=/dev/vda
    case $1 in /dev/*) disk=$1 && shift ;; esac
    blockdev --flushbufs "$disk"
    dd if="$disk" bs=512 skip="$1" count=1 2>/dev/null | tr -d '\0'
    echo
    ;;
counter)
    cat /run/count
    ;;
on-uevent) # what the kernel says has changed, in the environment
    case $SUBSYSTEM/$DEVTYPE/$ACTION in
    block/disk/add) describe_disk "$DEVNAME" block+ ;;
    block/disk/change) describe_disk "$DEVNAME" block= ;;
    block/disk/remove) echo "block- $DEVNAME" ;;
    net/*/add)
        ip link set "$INTERFACE" up
        echo "net+ $INTERFACE $(cat "/sys/class/net/$INTERFACE/address")"
        ;;
    net/*/remove) echo "net- $INTERFACE" ;;
    cpu/*/add)
        echo 1 >"/sys$DEVPATH/online" && echo "cpu+ ${DEVPATH##*cpu}"
        ;;
    cpu/*/remove) echo "cpu- ${DEVPATH##*cpu}" ;;
    memory/*/add) memory memory+ ;;
    memory/*/remove) memory memory- ;;
    esac
    ;;
esac
