# Looks at settings that the kernel has as files and sets back what they were; for the role cpu_governor,
# too. Needs neither Python nor sysctl(8).
#
#   VERB    what to do, below
#   WANTED  settings as sysctl.d(5) has them, a line each; a leading - where the kernel may lack one
#   KERNEL  /proc/sys, where their paths begin;  LEAF  what follows each path (default: nothing)
#   NOTE    what they were before, a path and a value a line
#   FILE    the sysctl.d(5) file that holds them
: "${KERNEL:=/proc/sys}"

# awk, because these files are whole only in one read(2): the shell's `read` takes a byte at a time.
# say MODE: `differences` from what is wanted, `missing` lines of the note, and of its lines those whose
# settings are wanted (`kept`) or not any more (`left`).
say() {
    printf '%s' "$WANTED" | awk -v mode="$1" -v kernel="$KERNEL" -v leaf="${LEAF:-}" -v note="$NOTE" '
    # The words of a setting with one blank between them; sets lacks where there is none.
    function live(path,    file, line) {
        file = kernel "/" path leaf
        lacks = (getline line <file) < 0
        close(file)
        gsub(/[ \t]+/, " ", line)
        gsub(/^ | $/, "", line)
        return line
    }
    # Of these pairs the kernel takes one or the other; the one that does not count reads 0.
    function other(path) {
        return path ~ /_bytes$/ ? substr(path, 1, length(path) - 5) "ratio" : substr(path, 1, length(path) - 5) "bytes"
    }
    BEGIN { while ((getline line <note) > 0) { lines[++count] = line; split(line, word, " "); noted[word[1]] = 1 } }
    {
        may_lack = sub(/^-/, "")
        wanted[$1] = 1
        found = live($1)
        value = $0
        sub(/^[^ ]+ = /, "", value)
        if (mode == "differences" && lacks && !may_lack) print $1 ": the kernel has no such setting; a leading - would allow that"
        if (lacks) next
        if (mode == "differences" && found != value) print $1 " is " found " and should be " value
        if (mode != "missing" || $1 in noted) next
        # What does not count now is noted by the one that does.
        if ($1 ~ /^vm\/dirty_(background_)?(bytes|ratio)$/ && found == "0") print $1, "=" other($1), live(other($1))
        else print $1, found
    }
    END {
        for (number = 1; number <= count; number++) {
            split(lines[number], word, " ")
            if (mode == (word[1] in wanted ? "kept" : "left")) print lines[number]
        }
    }'
}

# Sets back what the lines on standard input say. Fails with a line where the kernel refuses.
set_back() {
    refused=$(sed 's/^[^ ]* =//' | while read -r path value; do
        file=$KERNEL/$path${LEAF:-}
        # In a shell of its own: a refused write must not end this one.
        [ ! -e "$file" ] || (printf '%s\n' "$value" >"$file") 2>/dev/null || printf ' %s (%s)' "$path" "$value"
    done)
    [ -z "$refused" ] && return
    echo "the kernel refuses what it had before; a reboot brings it back:$refused" >&2
    return 1
}

# Replaces the note by standard input, whole even after a power cut.
write_note() {
    mkdir -p "$(dirname "$NOTE")" && cat >"$NOTE.new" && sync "$NOTE.new" && mv "$NOTE.new" "$NOTE" &&
        sync "$(dirname "$NOTE")"
}

case $VERB in
    probe)
        said=$(say differences)
        [ -n "$said" ] || said=$(say left | awk '{print $1 " is no longer wanted and was " $2}')
        if [ -n "$said" ]; then
            printf '%s\n' "$said" | awk '{ line = line sep $0; sep = "; " } END { print line }'
            exit 1
        fi
        ;;
    probe-note) # every wanted setting is noted
        [ -z "$(say missing)" ] || { echo "not noted yet"; exit 1; }
        ;;
    note) { cat "$NOTE" 2>/dev/null; say missing; } | write_note ;;
    apply)
        status=0
        old=$(say left)
        if [ -n "$old" ]; then
            printf '%s\n' "$old" | set_back || status=1
            say kept | write_note
        fi
        # The program that does it at boot, so that what works now works then.
        "${SYSTEMD_SYSCTL:-/usr/lib/systemd/systemd-sysctl}" "$FILE" || status=1
        exit "$status"
        ;;
    probe-restored) [ ! -e "$NOTE" ] || { echo "settings are as Gridberry set them"; exit 1; } ;;
    restore)
        set_back <"$NOTE"
        status=$?
        rm -f "$NOTE"
        exit "$status"
        ;;
esac
