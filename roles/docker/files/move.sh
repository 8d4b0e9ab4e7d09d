# Moves Docker's data, so that a power cut at any moment leaves a Docker that starts with all of them,
# and another run ends what this one began. From the environment:
#
#   FROM, TO        where the data are, and where they shall be
#   DAEMON, GUARD   daemon.json and the unit's drop-in that belong to TO
#   for tests: ETC, MOUNTS
#
# 1. Docker and its containers stop. Until step 4, a start finds the data in FROM, as they were.
# 2. FROM is copied beside TO and compared; volumes, which hold the books, byte by byte.
# 3. The copy, which says of itself what it is a copy of, becomes TO.
# 4. daemon.json names TO. From now on, a start finds the data there.
# 5. Docker starts. FROM gets another name, and TO is no longer called a copy.
#
# The last line that it prints says what is wrong, where it ends with a status other than 0.
set -u
trap '' HUP PIPE # a lost connection must not end this halfway
: "${ETC:=/etc}" "${MOUNTS:=/proc/mounts}"
daemon=$ETC/docker/daemon.json
guard=$ETC/systemd/system/docker.service.d/gridberry.conf
mark=.gridberry-copy-of
new=$TO.gridberry-new

# Replaces a file so that after a power cut it is the old one or the new one.
replace() {
    mkdir -p "$(dirname "$1")" &&
        printf '%s\n' "$2" >"$1.gridberry-new" &&
        chmod 0644 "$1.gridberry-new" &&
        sync "$1.gridberry-new" &&
        mv "$1.gridberry-new" "$1" &&
        sync "$(dirname "$1")"
}

# Names, kinds, owners, modes and sizes of all that is in a directory.
listing() {
    (cd "$1" && find . ! -type d -printf '%P %y %m %U %G %s %l\n' -o -printf '%P %y %m %U %G\n') | LC_ALL=C sort
}

# What was read before the first change is what it goes back to.
before=$(cat "$daemon" 2>/dev/null)
go_back() {
    rm -rf "$new"
    if [ -n "$before" ]; then replace "$daemon" "$before"; fi
    systemctl start docker.service
    echo "$1; Docker's data are still in $FROM, and nothing was lost"
    exit 1
}

if [ "$FROM" != "$TO" ]; then
    if systemctl is-active -q docker.service; then
        root=$(docker info --format '{{.DockerRootDir}}')
        [ "$root" = "$FROM" ] || {
            echo "Docker says that its data are in ${root:-no place}, and daemon.json says $FROM; restart Docker first"
            exit 1
        }
        # Otherwise containers would outlive Docker and go on writing into FROM. Stopped with Docker
        # and not each by itself, they start again with it. Docker waits 15 seconds for them, which on
        # a busy Pi is not enough to kill one that does not listen.
        if [ "$(docker info --format '{{.LiveRestoreEnabled}}')" = true ]; then
            replace "$daemon" "$(echo "$before" | sed 's/\("live-restore"[[:space:]]*:[[:space:]]*\)true/"shutdown-timeout": 75, \1false/')" &&
                systemctl reload docker.service || go_back "Docker could not be told to stop its containers"
            for _ in 1 2 3 4 5 6 7 8 9 10; do
                [ "$(docker info --format '{{.LiveRestoreEnabled}}')" = true ] || break
                sleep 1
            done
            [ "$(docker info --format '{{.LiveRestoreEnabled}}')" = false ] ||
                go_back "Docker keeps its containers alive (live-restore), whatever daemon.json says"
        fi
    fi
    systemctl stop docker.socket docker.service 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        grep -q " $FROM/" "$MOUNTS" || break
        sleep 1
    done
    if systemctl is-active -q docker.service || grep -q " $FROM/" "$MOUNTS"; then
        go_back "something still uses $FROM after Docker was stopped"
    fi

    rm -rf "$new"
    # A copy that no Docker has started from: the power failed before step 4.
    if [ -f "$TO/$mark" ]; then rm -rf "$TO"; fi
    mkdir -p "$(dirname "$TO")" && cp -a "$FROM" "$new" || go_back "the copy to $TO failed"
    [ "$(listing "$FROM")" = "$(listing "$new")" ] || go_back "the copy of $FROM is not equal"
    if [ -d "$FROM/volumes" ]; then
        (cd "$FROM/volumes" && find . -type f -exec sh -c \
            'for file; do cmp -s "$file" "$0/$file" || exit; done' "$new/volumes" {} +) ||
            go_back "the copy of $FROM/volumes is not equal"
    fi
    printf '%s\n' "$FROM" >"$new/$mark" && sync -f "$new" && mv -T "$new" "$TO" && sync "$(dirname "$TO")" ||
        go_back "the copy could not become $TO"

    replace "$guard" "$GUARD" && systemctl daemon-reload && replace "$daemon" "$DAEMON" ||
        go_back "daemon.json could not be changed"
    systemctl reset-failed docker.service 2>/dev/null
    if ! systemctl start docker.service || [ "$(docker info --format '{{.DockerRootDir}}')" != "$TO" ]; then
        echo "Docker does not start with its data in $TO: journalctl -u docker.service says why; they are in $FROM as well"
        exit 1
    fi
fi

# A Docker that is told to use FROM again must not start there with what is old by then.
from=$(cat "$TO/$mark")
if [ -d "$from" ] && [ "$from" != "$TO" ]; then
    kept=$from.gridberry-moved
    if [ -e "$kept" ]; then kept=$kept-$(date +%s); fi
    mv -T "$from" "$kept" && sync "$(dirname "$from")" && echo "kept $kept"
fi
rm "$TO/$mark" && sync "$TO"
