# Looks at kernel settings and sets back what they were. Needs neither Python nor sysctl(8).
#
#   VERB    what to do, below
#   WANTED  settings, a line each: - (the kernel may lack it) or +, path below /proc/sys, value
#   KERNEL  /proc/sys;  NOTE  what they were before, a path and a value a line
#   FILE    the sysctl.d(5) file that holds them
: "${KERNEL:=/proc/sys}"

# awk, because these files are whole only in one read(2): the shell's `read` takes a byte at a time.
# live(path): the words of a setting with one blank between them. Sets lacks where there is none.
functions='
function live(path,    file, line, words) {
    file = kernel "/" path
    lacks = (getline line <file) < 0
    close(file)
    gsub(/[ \t]+/, " ", line)
    sub(/^ /, "", line)
    sub(/ $/, "", line)
    return lacks ? "" : line
}
function rest(line) {
    sub(/^[^ ]+ /, "", line)
    return line
}
# Of these pairs the kernel takes one or the other; the one that does not count reads 0.
function other(path) {
    if (path ~ /_bytes$/) { sub(/_bytes$/, "_ratio", path); return path }
    if (path ~ /_ratio$/) { sub(/_ratio$/, "_bytes", path); return path }
}
'

# Prints what is not in force; nothing where all is.
differences() {
    printf '%s' "$WANTED" | awk -v kernel="$KERNEL" "$functions"'
    {
        value = rest(rest($0))
        found = live($2)
        if (lacks) { if ($1 == "+") print $2 ": the kernel has no such setting; a leading - would allow that" }
        else if (found != value) print $2 " is " found " and should be " value
    }'
}

# Prints a line of the note for each wanted setting that it lacks.
missing_notes() {
    printf '%s' "$WANTED" | awk -v kernel="$KERNEL" -v note="$NOTE" "$functions"'
    BEGIN { while ((getline line <note) > 0) { split(line, word, " "); noted[word[1]] = 1 } }
    !($2 in noted) {
        value = live($2)
        if (lacks) next
        # What does not count now is noted by the one that does.
        if ($2 ~ /^vm\/dirty_(background_)?(bytes|ratio)$/ && value == "0") print $2, "=" other($2), live(other($2))
        else print $2, value
    }'
}

# Prints the lines of the note whose settings are not wanted any more.
left_over() {
    [ -r "$NOTE" ] || return 0
    printf '%s' "$WANTED" | awk -v note="$NOTE" '
    { wanted[$2] = 1 }
    END { while ((getline line <note) > 0) { split(line, word, " "); if (!(word[1] in wanted)) print line } }'
}

# Sets back what the lines on standard input say. Fails with a line where the kernel refuses.
set_back() {
    refused=
    while read -r path value; do
        [ -n "$path" ] || continue
        case $value in
            =*)
                path=${value%% *}
                path=${path#=}
                value=${value#* }
                ;;
        esac
        [ -e "$KERNEL/$path" ] || continue
        # In a shell of its own: a refused write must not end this one.
        (printf '%s\n' "$value" >"$KERNEL/$path") 2>/dev/null || refused="$refused $path ($value)"
    done
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
        said=$(differences)
        [ -n "$said" ] || said=$(left_over | awk '{print $1 " is no longer wanted and was " $2}')
        if [ -n "$said" ]; then
            printf '%s\n' "$said" | awk '{ line = line sep $0; sep = "; " } END { print line }'
            exit 1
        fi
        ;;
    probe-note) # every wanted setting is noted
        [ -z "$(missing_notes)" ] || { echo "not noted yet"; exit 1; }
        ;;
    note)
        { cat "$NOTE" 2>/dev/null; missing_notes; } | write_note
        ;;
    apply)
        old=$(left_over)
        printf '%s\n' "$old" | set_back
        status=$?
        if [ -n "$old" ]; then
            printf '%s' "$WANTED" | awk -v note="$NOTE" '
            { wanted[$2] = 1 }
            END { while ((getline line <note) > 0) { split(line, word, " "); if (word[1] in wanted) print line } }' | write_note
        fi
        # The program that does it at boot, so that what works now works then.
        "${SYSTEMD_SYSCTL:-/usr/lib/systemd/systemd-sysctl}" "$FILE" || status=1
        exit "$status"
        ;;
    probe-restored)
        [ ! -e "$NOTE" ] || { echo "settings are as Gridberry set them"; exit 1; }
        ;;
    restore)
        set_back <"$NOTE"
        status=$?
        rm -f "$NOTE"
        exit "$status"
        ;;
esac
