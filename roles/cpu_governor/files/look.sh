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
sets() { # PROGRAM FILE WORD
    echo "sets $1"
    sed "/^[[:blank:]]*$3=/d; s/^/$1: /" "$ROOT/etc/default/$2" 2>/dev/null
}
if [ -e "$ROOT/etc/init.d/raspi-config" ] || [ -e "$ROOT/usr/bin/raspi-config" ]; then
    sets raspi-config cpu_governor CPU_DEFAULT_GOVERNOR
fi
if [ -e "$ROOT/etc/init.d/cpufrequtils" ]; then sets cpufrequtils cpufrequtils GOVERNOR; fi
exit 0
