# Tells how the host's CPUs choose their frequency, in lines of a word and a value. Reads only.
#
#   ROOT  what stands before every path (default: nothing);  KERNEL  the running kernel's release
: "${ROOT:=}"
: "${KERNEL:=$(uname -r)}"
for policy in "$ROOT"/sys/devices/system/cpu/cpufreq/policy*; do
    [ -e "$policy/scaling_governor" ] || continue
    read -r governor <"$policy/scaling_governor"
    echo "policy ${policy##*/} $governor"
    read -r governors <"$policy/scaling_available_governors"
    for governor in $governors; do echo "available $governor"; done
done
# What is a module is loaded by the kernel when it is asked for.
sed -n 's/^.*\/cpufreq_\([a-z]*\)\.ko[^:]*:.*/module \1/p' "$ROOT/lib/modules/$KERNEL/modules.dep" 2>/dev/null
# Programs that would set another at boot, with the lines of their files that are not the governor's.
if [ -e "$ROOT/etc/init.d/raspi-config" ] || [ -e "$ROOT/usr/bin/raspi-config" ]; then
    echo "sets raspi-config"
    sed '/^[[:blank:]]*CPU_DEFAULT_GOVERNOR=/d; s/^/raspi-config: /' "$ROOT/etc/default/cpu_governor" 2>/dev/null
fi
if [ -e "$ROOT/etc/init.d/cpufrequtils" ]; then
    echo "sets cpufrequtils"
    sed '/^[[:blank:]]*GOVERNOR=/d; s/^/cpufrequtils: /' "$ROOT/etc/default/cpufrequtils" 2>/dev/null
fi
exit 0
