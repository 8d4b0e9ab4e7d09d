# Tells what drives a host has, what is on them and what is mounted, in lines of a word and a value.
# Reads only, needs root. Set before:
#
#   DEVICE  a drive's path, or auto;  MOUNT  where data is mounted;  LABEL  of its file system
: "${ETC:=/etc}" "${PROC:=/proc}" "${NOTE:=/var/lib/gridberry/storage-formatting}"

# Some boot loaders and encrypted disks have no signature, but they begin or end with something.
has_zeros() { cmp -s -n 1048576 -i "$2:0" "$1" /dev/zero; }

contents() {
    signatures=$(wipefs -n --noheadings -O TYPE "$1" 2>&1) || signatures="something that cannot be read"
    if [ -n "$signatures" ]; then
        echo "holds $1 $(echo "$signatures" | sort -u | paste -s -d, -)"
        return
    fi
    blkid -p "$1" >/dev/null 2>&1
    # 2: nothing found; all else is something, be it two file systems at once or an unreadable drive.
    if [ $? -ne 2 ]; then
        echo "holds $1 something that blkid cannot tell"
        return
    fi
    bytes=$(blockdev --getsize64 "$1") || return
    if has_zeros "$1" 0 && has_zeros "$1" "$((bytes - 1048576))"; then
        echo "blank $1"
    else
        echo "holds $1 data without a known signature"
    fi
}

read -r fresh </proc/sys/kernel/random/uuid
echo "fresh $fresh"
echo "lsblk $(lsblk -J -b -o NAME,PATH,TYPE,SIZE,TRAN,RM,DISC-MAX,SERIAL,MODEL,MOUNTPOINTS | tr -d '\n')"
echo "fstab $(base64 -w 0 "$ETC/fstab" 2>/dev/null)"
if [ -e "$ETC/fstab.gridberry-original" ]; then
    echo "original $(base64 -w 0 "$ETC/fstab.gridberry-original")"
fi
if [ -e "$NOTE" ]; then echo "note $(cat "$NOTE")"; fi
if [ "$DEVICE" != auto ]; then echo "device $(readlink -f "$DEVICE")"; fi
for disk in $(lsblk -dnro PATH,TYPE | sed -n 's/ disk$//p'); do
    case $disk in
        /dev/nvme*) ;;
        *) [ "$DEVICE" != auto ] && [ "$disk" = "$(readlink -f "$DEVICE")" ] || continue ;;
    esac
    known=$(for node in $(lsblk -nro PATH "$disk"); do
        blkid -p -o export "$node" 2>/dev/null |
            sed -n -E "s#^PART_ENTRY_UUID=#PARTUUID=#; s#^(TYPE|LABEL|UUID|PARTUUID)=#probe $node \1 #p"
    done)
    echo "$known"
    # Slow, and of use only where the drive has not been taken over yet.
    echo "$known" | grep -q " LABEL $LABEL\$" || contents "$disk"
done
if findmnt -rno UUID,SOURCE --mountpoint "$MOUNT" >/dev/null; then
    echo "mounted $(findmnt -rno UUID --mountpoint "$MOUNT" | tail -n 1)"
elif [ -d "$MOUNT" ]; then
    find "$MOUNT" -mindepth 1 -maxdepth 1 -printf 'underneath %f\n' -quit
fi
# PCIe, where a Pi 5 has its NVMe drive, is off until config.txt or an adapter's EEPROM (HAT+) asks for it.
if [ -r "$PROC/device-tree/model" ]; then echo "board $(tr -d '\000' <"$PROC/device-tree/model")"; fi
for status in "$PROC"/device-tree/axi/pcie@*110000/status; do
    if [ -r "$status" ]; then echo "pcie $(tr -d '\000' <"$status")"; fi
done
if [ -L "$ETC/systemd/system/tmp.mount" ]; then
    echo "tmp $(readlink "$ETC/systemd/system/tmp.mount")"
fi
