# Tells whether all CPUs have the governor WANTED; a policy that has another is named. Ends with 1 where one has,
# or where the kernel has no policy. ROOT: what stands before every path.
cd "${ROOT:-}/sys/devices/system/cpu/cpufreq" 2>/dev/null && found=$(grep -H '' policy*/scaling_governor 2>/dev/null) ||
    { echo "the kernel does not scale the CPUs' frequency"; exit 1; }
others=$(printf '%s\n' "$found" | grep -v ":$WANTED\$") || exit 0
printf '%s\n' "$others" | awk -F '[/:]' '{ line = line sep $3 " (" $1 ")"; sep = ", " } END { print "governor is " line }'
exit 1
