# Tells what swap a host has and where the wanted one would be, in lines of a word and a value. Reads
# only. Set before:
#
#   PLACE  the wanted swap file;  UNIT  systemd's name for it
# shellcheck disable=SC2153 # these
: "${PROC:=/proc}" "${ETC:=/etc}" "${LIB:=/usr/lib}" "${SBIN:=/usr/sbin}" "${NOTES:=/var/lib/gridberry}"

# How the disk is attached that a path is on: `nvme`, `usb`, `mmc`...; nothing for memory. Then, whether it
# says of itself that it is removable: USB sticks and card readers do, USB drives do not.
transport() {
    if [ -b "$1" ]; then source=$1; else source=$(findmnt -nro SOURCE -T "$1" | tail -n 1); fi
    source=${source%%\[*} # a btrfs subvolume
    lsblk -snro TYPE,TRAN,RM "$source" 2>/dev/null | sed -n 's/^disk *//p' | head -n 1
}

# Whether a path is on what wears out with swap: all that is not known to be a drive.
card() {
    case $1 in /dev/zram*) return 1 ;; esac
    case $(transport "$1") in "nvme "* | "usb 0" | "sata "* | "ata "* | "sas "*) return 1 ;; *) return 0 ;; esac
}

[ -x "$LIB/systemd/system-generators/rpi-swap-generator" ] && echo "has rpi-swap"
[ -x "$SBIN/dphys-swapfile" ] && echo "has dphys-swapfile"
[ -x "$LIB/systemd/system-generators/zram-generator" ] && echo "has zram-generator"

# The nearest directory that exists tells the file system.
place=${PLACE%/*}
while [ ! -d "${place:-/}" ]; do place=${place%/*}; done
echo "target $(findmnt -nro TARGET -T "${place:-/}" | tail -n 1)"
echo "type $(findmnt -nro FSTYPE -T "${place:-/}" | tail -n 1)"
if card "${place:-/}"; then echo "card yes"; else echo "card no"; fi
if [ -L "$ETC/systemd/system/$UNIT" ]; then echo "link $(readlink "$ETC/systemd/system/$UNIT")"; fi
if [ -e "$PLACE" ]; then echo "place $(blkid -p -s TYPE -o value "$PLACE" 2>/dev/null || echo other)"; fi
if [ -r "$NOTES/swap-file" ]; then sed 's/^/made /' "$NOTES/swap-file"; fi

# Swap in use, and what else would bring some on the card at the next boot.
sed 1d "$PROC/swaps" | while read -r name kind size used _; do
    on=drive
    case $name in
        /dev/zram*) on=memory ;;
        *) if card "$name"; then on=card; fi ;;
    esac
    echo "active $name $kind $size $used $on"
done
awk '$1 !~ /^#/ && $3 == "swap" {print $1}' "$ETC/fstab" 2>/dev/null | while read -r spec; do
    case $spec in
        UUID=* | LABEL=* | PARTUUID=* | PARTLABEL=*)
            by=$(echo "${spec%%=*}" | tr '[:upper:]' '[:lower:]')
            path=/dev/disk/by-$by/$(echo "${spec#*=}" | tr -d '"')
            ;;
        /*) path=$spec ;;
        *) continue ;;
    esac
    directory=$path
    while [ ! -e "$directory" ]; do directory=${directory%/*}; [ -n "$directory" ] || directory=/; done
    on=drive
    if card "$directory"; then on=card; fi
    echo "configured $path $on"
done
for file in "$ETC"/systemd/system/*.swap.d/gridberry-off.conf; do
    [ -e "$file" ] && echo "silenced $file"
done
:
