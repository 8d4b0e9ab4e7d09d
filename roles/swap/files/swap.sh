# What the role's effects do. FILE, SIZE (MB) and NOTE (what files it made) are set before.
# shellcheck disable=SC2153 # these

# The line of one swap in /proc/swaps: name, kind, size and use in KiB.
line_of() { awk -v name="$1" 'NR > 1 && $1 == name' /proc/swaps; }

# What is swapped out must go back to memory. A Pi that has too little of that kills programs instead.
check_memory() {
    used=$(line_of "$1" | awk '{print $4}')
    free=$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)
    if [ "${used:-0}" -gt 0 ] && [ "$((used + 65536))" -gt "$free" ]; then
        echo "$1 has $((used / 1024)) MB swapped out and only $((free / 1024)) MB of memory are available; stop something large, or reboot and run again" >&2
        return 1
    fi
}

switch_off() {
    [ -n "$(line_of "$1")" ] || return 0
    check_memory "$1" && swapoff "$1"
}

# A file of this size, without holes, for root alone, with a swap header.
is_made() {
    [ -f "$1" ] || { echo "$1 is not there"; return 1; }
    [ "$(stat -c '%s %a %u' "$1")" = "$((SIZE * 1048576)) 600 0" ] || {
        echo "$1 has size, mode and owner $(stat -c '%s %a %u' "$1")"
        return 1
    }
    [ "$(($(stat -c '%b * %B' "$1") + 1048576))" -ge "$((SIZE * 1048576))" ] || { echo "$1 has holes"; return 1; }
    [ "$(blkid -p -s TYPE -o value "$1")" = swap ] || { echo "$1 has no swap header"; return 1; }
}

# Made under another name and renamed: after a power cut there is the old file or the new one, whole.
# The new one is in use before the old one goes; where there is no room for both, the old one goes
# first, if memory is free for it.
make_file() (
    set -eu
    umask 077
    directory=${FILE%/*}
    rm -f "$FILE.new"
    mkdir -p "$directory" "${NOTE%/*}"
    forget_file "$FILE.old"
    room=$(df --output=avail -k "$directory" | tail -n 1)
    present=0
    if [ -f "$FILE" ]; then present=$(($(stat -c '%b * %B' "$FILE") / 1024)); fi
    # So much stays free for data.
    need=$((SIZE * 1024 + 65536))
    if [ "$room" -lt "$need" ]; then
        if [ "$((room + present))" -lt "$need" ]; then
            echo "swap_size_mb is $SIZE and $directory has $(((room + present) / 1024)) MB free; use $(((room + present) / 1024 - 64)) at most" >&2
            exit 1
        fi
        forget_file "$FILE"
    fi
    : >"$FILE.new"
    if [ "$(findmnt -nro FSTYPE -T "$directory" | tail -n 1)" = btrfs ]; then chattr +C "$FILE.new"; fi
    fallocate -l "${SIZE}MiB" "$FILE.new"
    mkswap -q "$FILE.new" >/dev/null
    sync "$FILE.new"
    grep -qsxF "$FILE" "$NOTE" || echo "$FILE" >>"$NOTE"
    sync "$NOTE"
    if [ -e "$FILE" ]; then
        # Not replaced in place: swap in use cannot be switched off once its file has no name.
        mv "$FILE" "$FILE.old"
        mv "$FILE.new" "$FILE"
        if [ -n "$(line_of "$FILE.old")" ]; then swapon "$FILE"; fi
        forget_file "$FILE.old"
    else
        mv "$FILE.new" "$FILE"
    fi
    sync "$directory"
)

# A swap file that is not wanted any more.
forget_file() {
    switch_off "$1" || return 1
    rm -f "$1"
    [ ! -e "$NOTE" ] || sed -i "\\#^$1\$#d" "$NOTE"
    [ -s "$NOTE" ] || rm -f "$NOTE"
}

# What enabled a unit, and the directory that was made for it.
forget_links() {
    for link in /etc/systemd/system/*.wants/"$1"; do
        [ -L "$link" ] || continue
        rm "$link" && rmdir --ignore-fail-on-non-empty "${link%/*}"
    done
}

# In use with its full size: the header takes one page.
is_on() {
    size=$(line_of "$1" | awk '{print $3}')
    [ -n "$size" ] || { echo "$1 is not in use"; return 1; }
    [ "$((SIZE * 1024 - size))" -le 64 ] || { echo "$1 is in use with $((size / 1024)) MB"; return 1; }
}

# Files back to what they were before Gridberry, from file_set's notes beside them.
put_back() {
    for one in "$@"; do
        if [ -e "$one.gridberry-original" ]; then
            mv "$one.gridberry-original" "$one"
        elif grep -qs '^# Written by Gridberry, role swap' "$one"; then
            rm -f "$one"
        fi
        # Also where somebody has written the file anew: it is his then.
        rm -f "$one.gridberry-created"
        forget_links "${one##*/}"
    done
}

none_left() {
    for one in "$@"; do
        [ ! -e "$one" ] || { echo "$one is still there"; return 1; }
    done
}
