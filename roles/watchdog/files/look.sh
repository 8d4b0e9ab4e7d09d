# Tells what watchdog a host has and who holds it, in lines of a word and a value. Reads only: to open
# the device would arm it.
#
#   ROOT  what stands before every path (default: nothing);  KERNEL  the running kernel's release
: "${ROOT:=}"
: "${KERNEL:=$(uname -r)}"
found=
for device in "$ROOT"/sys/class/watchdog/watchdog[0-9]*; do
    [ -e "$device" ] || continue
    found=yes
    echo "device ${device##*/}"
    # systemd and the daemon take the first.
    for word in identity max_timeout nowayout; do
        if [ -r "$device/$word" ]; then read -r value <"$device/$word" && echo "$word $value"; fi
    done
    break
done
# A kernel without the directory in /sys.
if [ -z "$found" ] && [ -e "$ROOT/dev/watchdog0" ]; then
    found=yes
    echo "device watchdog0"
fi
if [ -z "$found" ] || [ -e "$ROOT/etc/modules-load.d/gridberry-watchdog.conf" ]; then
    # What the kernel would have loaded by itself if nobody had told it not to.
    modules=
    if tr '\0' '\n' <"$ROOT/proc/device-tree/compatible" 2>/dev/null | grep -q '^raspberrypi,'; then
        modules=bcm2835_wdt
    fi
    for module in $modules softdog; do
        if grep -qs "/$module\.ko" "$ROOT/lib/modules/$KERNEL/modules.dep" "$ROOT/lib/modules/$KERNEL/modules.builtin"; then
            echo "module $module"
        fi
    done
fi
if [ -r "$ROOT/etc/modules-load.d/gridberry-watchdog.conf" ]; then
    sed -n '/^[a-z]/s/^/loads /p' "$ROOT/etc/modules-load.d/gridberry-watchdog.conf"
fi
for zone in "$ROOT"/sys/class/thermal/thermal_zone[0-9]*; do
    if [ -r "$zone/temp" ]; then echo "sensor ${zone#"$ROOT"}/temp" && break; fi
done
echo "architecture $(dpkg --print-architecture)"
if [ -x "$ROOT/usr/sbin/watchdog" ]; then echo "daemon installed"; fi
exit 0
