# Tells what /var/log is on, how large it is and whether logrotate is installed, in lines of two words.
# Reads only.
# From the environment:
#
#   SYS  where the kernel shows its devices (default /sys);  LOGS  the directory (default /var/log)
: "${SYS:=/sys}" "${LOGS:=/var/log}"
place=disk
# The device's name, and those of what it is made of: a partition's disk, below LVM and encryption.
source=$(findmnt -nro SOURCE -T "$LOGS" | sed 's/\[.*//')
# What the role has put over it says nothing of what is below.
[ "$source" != gridberry-logs ] || source=$(findmnt -nro SOURCE -T "${LOGS%/*}" | sed 's/\[.*//')
case "$source" in
    /dev/zram* | tmpfs | ramfs | log2ram | none) place=memory ;;
    /dev/*)
        for device in $(lsblk -nrso NAME "$source" 2>/dev/null); do
            # MMC would be soldered memory, which wears as a disk does.
            if [ "$(cat "$SYS/block/$device/device/type" 2>/dev/null)" = SD ]; then place=card; fi
            # USB sticks and card readers; USB drives do not call themselves removable.
            if [ "$(cat "$SYS/block/$device/removable" 2>/dev/null)" = 1 ]; then place=card; fi
        done
        ;;
esac
echo "logs $place"
findmnt -nrlo TARGET | sed -n "s|^$LOGS/|mounted $LOGS/|p"
# Without the journal, which is bounded apart.
echo "megabytes $(du -sm --exclude=journal "$LOGS" 2>/dev/null | cut -f 1)"
dpkg-query -W -f='${db:Status-Status} ${Package}\n' logrotate 2>/dev/null
:
