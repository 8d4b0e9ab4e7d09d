# Tells what a host is, in lines of a word and a value. Reads only, needs neither Python nor root.
#
#   NVME must be set before: a block device, or empty.
#   CLOCK must be set before: the controller's time, in seconds since 1970.
#   For tests: PROC, SYS, ETC, DPKG, BOOT, NOTES.
: "${PROC:=/proc}" "${SYS:=/sys}" "${ETC:=/etc}" "${DPKG:=/var/lib/dpkg}" "${NOTES:=/var/lib/gridberry/packages}"
export LC_ALL=C.UTF-8 # sizes of disks have a point
echo "clock $(($(date +%s) - CLOCK))" # first: what follows takes its time
echo "user $(id -un)"
sudo=no
if [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; then sudo=yes; fi
echo "sudo $sudo"
echo "machine $(uname -m)"
# The role packages has installed nothing here yet.
[ -e "$NOTES" ] || echo "fresh yes"
echo "packages $(dpkg --print-architecture 2>/dev/null)"
if [ -r "$PROC/device-tree/model" ]; then echo "board $(tr -d '\000' <"$PROC/device-tree/model")"; fi
. "$ETC/os-release" 2>/dev/null
echo "release ${VERSION_CODENAME:-unknown}"
case " ${ID:-} ${ID_LIKE:-} " in *" debian "*) echo "family debian" ;; *) echo "family ${ID:-unknown}" ;; esac
echo "free $(df -Pm /var | awk 'NR == 2 {print $4}')"
echo "memory $(awk '$1 == "MemTotal:" {print int($2 / 1024)}' "$PROC/meminfo")"
echo "processors $(grep -c '^processor' "$PROC/cpuinfo" 2>/dev/null)"
# What is mounted last is what is seen: raspi-config's overlay file system is mounted over the card.
awk '$2 == "/" {type = $3; options = "," $4 ","} END {
    if (type == "overlay" || type == "tmpfs") print "root " type; else if (index(options, ",ro,")) print "root read-only"
}' "$PROC/mounts"
# The partition that the role boot_config writes to, where it is one of its own.
for firmware in ${BOOT:-/boot/firmware /boot}; do
    [ -r "$firmware/cmdline.txt" ] || continue
    echo "boot_free $(df -Pk "$firmware" | awk 'NR == 2 {print $4}') $firmware"
    awk -v place="$firmware" '$2 == place {options = "," $4 ","}
        END {if (index(options, ",ro,")) print "boot_read_only " place}' "$PROC/mounts"
    break
done
# Addresses of tunnels and of containers' bridges are no way to the host by themselves.
if [ -e "$PROC/sys/net/ipv6" ]; then echo "ipv6 on"; fi
if addresses=$(ip -4 -o address show up scope global 2>/dev/null); then
    echo "ipv4 $(echo "$addresses" | awk '$2 !~ /^(docker|br-|veth|virbr|lxc|tailscale|wg|tun|zt)/ && $3 == "inet" {some = "yes"}
        END {print some ? some : "no"}')"
fi
command -v python3 >/dev/null && echo "python yes"
[ -n "$NVME" ] && [ -b "$NVME" ] && echo "nvme yes"
echo "disks $(lsblk -dnro NAME,SIZE,TYPE 2>/dev/null | awk '$3 == "disk" {printf "%s/dev/%s (%s)", sep, $1, $2; sep = ", "}')"

# PCIe, where a Pi 5 has its NVMe drive, is off until config.txt or an adapter's EEPROM (HAT+) asks for it.
for status in "$PROC"/device-tree/axi/pcie@*110000/status; do
    [ -r "$status" ] && echo "pcie $(tr -d '\000' <"$status")"
done
for firmware in ${BOOT:-/boot/firmware /boot}; do
    grep -qsE '^[[:space:]]*dtparam=(.*,)?(pciex1|nvme)(=on)?([[:space:],]|$)' "$firmware/config.txt" && echo "pciex1 written"
done

# What the firmware says of power and heat: it answers who is in the group video. A kernel without the
# program knows of under-voltage by itself, on a Pi.
throttled=$(vcgencmd get_throttled 2>/dev/null) || throttled=$(sudo -n vcgencmd get_throttled 2>/dev/null)
case $throttled in
    throttled=0x*) echo "throttled ${throttled#throttled=}" ;;
    *)
        for sensor in "$SYS"/class/hwmon/hwmon*; do
            [ "$(cat "$sensor/name" 2>/dev/null)" = rpi_volt ] || continue
            [ "$(cat "$sensor/in0_lcrit_alarm" 2>/dev/null)" = 1 ] && echo "throttled 0x1"
        done
        ;;
esac
temperature=$(cat "$SYS/class/thermal/thermal_zone0/temp" 2>/dev/null) && echo "temperature $temperature"

# dpkg keeps a journal while it works: what lies there was left by a power cut.
if [ -n "$(ls -A "$DPKG/updates" 2>/dev/null)" ]; then echo "dpkg interrupted"; fi
true
