# Tells what a host is made of and what is in force on it, in lines of a word and a value, or of a word
# and JSON where a program writes that. Reads only; what cannot be known is left out. As root.
#
#   CLOCK must be set before: the controller's time, in seconds since 1970.
#   For tests: PROC, SYS, ETC, BOOT.
: "${PROC:=/proc}" "${SYS:=/sys}" "${ETC:=/etc}"
echo "clock_offset $(($(date +%s) - CLOCK))" # first: what follows takes its time
text() { tr -d '\000' <"$1" 2>/dev/null; }
value() { # WORD FILE
    if [ -r "$2" ]; then echo "$1 $(text "$2" | head -n 1)"; fi
}

value board "$PROC/device-tree/model"
value serial "$PROC/device-tree/serial-number"
. "$ETC/os-release" 2>/dev/null
echo "os_name ${PRETTY_NAME:-}"
echo "os_codename ${VERSION_CODENAME:-}"
if [ -e "$ETC/rpi-issue" ]; then echo "os_image $(head -n 1 "$ETC/rpi-issue")"; fi
echo "kernel $(uname -r)"
echo "machine $(uname -m)"
echo "packages $(dpkg --print-architecture 2>/dev/null)"
echo "page_size $(getconf PAGESIZE)"
echo "cpus $(nproc)"
echo "uptime $(cut -d . -f 1 "$PROC/uptime")"
sed -n -e 's/^MemTotal: *\([0-9]*\) kB/memory_kb \1/p' -e 's/^MemAvailable: *\([0-9]*\) kB/memory_available_kb \1/p' "$PROC/meminfo"
echo "cmdline $(cat "$PROC/cmdline")"

lsblk --json --bytes --nodeps --output NAME,TYPE,MODEL,SIZE,ROTA,TRAN 2>/dev/null | tr -d '\n' | sed 's/^/disks /; s/$/\n/'
findmnt --json --bytes --df --real 2>/dev/null | tr -d '\n' | sed 's/^/mounts /; s/$/\n/'
for block in "$SYS"/block/nvme* "$SYS"/block/sd* "$SYS"/block/mmcblk*; do
    [ -e "$block" ] || continue
    name=$(basename "$block")
    case $name in *boot* | *rpmb*) continue ;; esac
    # A card has no health; an eMMC says in tenths how much of its life is used.
    value "life $name" "$block/device/life_time"
    value "card $name" "$block/device/name"
    if command -v smartctl >/dev/null; then
        smartctl --health --attributes --json=c "/dev/$name" 2>/dev/null | tr -d '\n' | sed "s/^/smart $name /; s/\$/\n/"
    fi
done
sed -n '2,$s/^\([^ \t]*\)[ \t]*\([^ \t]*\)[ \t]*\([0-9]*\)[ \t]*\([0-9]*\).*/swap \1 \2 \3 \4/p' "$PROC/swaps" 2>/dev/null

value governor "$SYS/devices/system/cpu/cpufreq/policy0/scaling_governor"
value frequency_khz "$SYS/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq"
value temperature "$SYS/class/thermal/thermal_zone0/temp"
case $(vcgencmd get_throttled 2>/dev/null) in throttled=*) echo "throttled $(vcgencmd get_throttled | cut -d = -f 2)" ;; esac
# The bootloader of a Pi 4 or 5, in an EEPROM: what it is told, and whether another one is due.
vcgencmd bootloader_config 2>/dev/null | sed -n -E 's/^(BOOT_ORDER|PCIE_PROBE|PSU_MAX_CURRENT)=/eeprom \1 /p'
if command -v rpi-eeprom-update >/dev/null; then
    rpi-eeprom-update -s -m /dev/stdout 2>/dev/null </dev/null | sed -n -E 's/^BOOTLOADER_(CURRENT|LATEST)=/eeprom \1 /p'
    echo "eeprom UNIT $(systemctl is-enabled rpi-eeprom-update.service 2>/dev/null)"
fi
value watchdog_device "$SYS/class/watchdog/watchdog0/identity"
value watchdog_state "$SYS/class/watchdog/watchdog0/state"
value watchdog_timeout "$SYS/class/watchdog/watchdog0/timeout"
for unit in watchdog systemd-timesyncd chrony ntpsec docker; do
    if systemctl is-active -q "$unit" 2>/dev/null; then echo "active $unit"; fi
done
systemctl show -p RuntimeWatchdogUSec --value 2>/dev/null | sed 's/^/systemd_watchdog /'
echo "synchronised $(timedatectl show -p NTPSynchronized --value 2>/dev/null)"
echo "timezone $(timedatectl show -p Timezone --value 2>/dev/null)"
systemctl list-units --failed --plain --no-legend 2>/dev/null | sed 's/^\([^ ]*\).*/failed \1/'
if [ -e "$PROC/sys/net/ipv6" ]; then echo "ipv6 yes"; else echo "ipv6 no"; fi

if systemctl is-active -q docker 2>/dev/null; then
    docker info --format 'docker {"version":{{json .ServerVersion}},"data_root":{{json .DockerRootDir}},"live_restore":{{json .LiveRestoreEnabled}},"images":{{json .Images}},"containers":{{json .Containers}},"running":{{json .ContainersRunning}}}' 2>/dev/null
fi
# Protocol, address with port, and the program that listens.
ss -Htulnp 2>/dev/null | awk '{program = "-"; if (match($0, /\(\("[^"]*"/)) program = substr($0, RSTART + 3, RLENGTH - 4); print "listens", $1, $5, program}'

# Every file of a role says in its head whose it is.
grep -rhoIE '(Written|written) by (Ansible|Gridberry) ?[(,] ?role [a-z_]+|BEGIN gridberry|gridberry boot' \
    "$ETC" /usr/local/lib/gridberry /opt/gridberry ${BOOT:-/boot/firmware} 2>/dev/null |
    sed -E 's/.*role ([a-z_]+).*/role \1/; s/^(BEGIN gridberry|gridberry boot)$/role boot_config/' | sort -u
true
