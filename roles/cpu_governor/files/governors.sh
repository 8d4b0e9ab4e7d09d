# Looks at the governors of all CPUs and sets back what they were.
#
#   VERB  what to do, below;  WANTED  the governor;  ROOT  what stands before every path
#   NOTE  what they were before, a policy and a governor a line
: "${ROOT:=}"
directory=$ROOT/sys/devices/system/cpu/cpufreq

# Prints a policy and its governor a line.
governors() {
    for policy in "$directory"/policy*; do
        [ -e "$policy/scaling_governor" ] || continue
        read -r governor <"$policy/scaling_governor" && echo "${policy##*/} $governor"
    done
}

case $VERB in
    probe)
        found=$(governors)
        [ -n "$found" ] || { echo "the kernel does not scale the CPUs' frequency"; exit 1; }
        others=$(printf '%s\n' "$found" | grep -v " $WANTED\$") || exit 0
        printf '%s\n' "$others" | awk '{ line = line sep $2 " (" $1 ")"; sep = ", " } END { print "governor is " line }'
        exit 1
        ;;
    probe-note)
        [ -e "$NOTE" ] || { echo "not noted yet"; exit 1; }
        ;;
    note)
        mkdir -p "$(dirname "$NOTE")" && governors >"$NOTE.new" && sync "$NOTE.new" && mv "$NOTE.new" "$NOTE" &&
            sync "$(dirname "$NOTE")"
        ;;
    probe-restored)
        [ ! -e "$NOTE" ] || { echo "governors are as Gridberry set them"; exit 1; }
        ;;
    restore)
        refused=
        while read -r policy governor; do
            file=$directory/$policy/scaling_governor
            [ -e "$file" ] || continue
            (echo "$governor" >"$file") 2>/dev/null || refused="$refused $policy ($governor)"
        done <"$NOTE"
        rm -f "$NOTE"
        [ -z "$refused" ] || { echo "the kernel refuses the governor from before:$refused" >&2; exit 1; }
        ;;
esac
