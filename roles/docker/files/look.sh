# Tells what a host has of Docker, in lines of a word and a value. Reads only. Quick where nothing is
# to be moved. From the environment:
#
#   WANTED  the packages, separated by blanks
#   TARGET  where Docker's data shall be; empty: where they are; auto: on the drive at STORAGE, where
#           one is mounted and nothing would have to be moved
#   STORAGE where the drive of the role storage is mounted
#   DRIVE   the drive that the inventory names, or auto: then a USB stick at STORAGE is none
#   for tests: DPKG, ETC, LISTS, KEYS, LIB, DEFAULT_ROOT, UPDATES
: "${DPKG:=/var/lib/dpkg}" "${ETC:=/etc}" "${KEYS:=/usr/share/keyrings}"
: "${DEFAULT_ROOT:=/var/lib/docker}" "${LISTS:=/var/lib/apt/lists}"

# shellcheck disable=SC2086 # words
dpkg-query --admindir="$DPKG" -W -f='${Package} ${Version} ${db:Status-Status}\n' $WANTED 2>/dev/null |
    while read -r package version status; do
        [ "$status" = installed ] || continue
        case "$package $version" in
            # Compose as a program of its own, which does not know `docker compose`.
            "docker-compose "[01].*) echo "outdated $package" ;;
            *) echo "installed $package" ;;
        esac
    done
if [ -n "$(ls -A "$DPKG/updates" 2>/dev/null)" ]; then echo "interrupted journal"; fi
. "$ETC/os-release"
echo "release ${VERSION_CODENAME:-unknown}"
echo "arch $(dpkg --print-architecture)"

# Trixie's packages on bookworm: from where, and whether apt could check their signature.
source=$ETC/apt/sources.list.d/gridberry-docker.sources
if [ -e "$source" ] || [ -e "$ETC/apt/preferences.d/gridberry-docker" ]; then echo "borrowed yes"; fi
if [ "${VERSION_CODENAME:-}" = bookworm ]; then
    [ -e "$KEYS/debian-archive-trixie-automatic.gpg" ] && echo "key yes"
    for word in main security; do
        known=$(sed -n "/^# $word:/{n;:line;/^URIs:/{s/^URIs: *//p;q};n;b line}" "$source" 2>/dev/null)
        [ -n "$known" ] && echo "$word $known"
    done
    if [ ! -e "$source" ]; then
        # Debian's archive is the one that has updates beside the release; others name theirs alike.
        apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
            sed -n -e 's/^bookworm-updates /main /p' -e 's/^bookworm-security /security /p' | sort -u
    fi
    if [ -n "$(find "$LISTS" -maxdepth 1 -name '*_dists_trixie_main_*_Packages*' 2>/dev/null | head -n 1)" ]; then
        echo "lists yes"
    fi
fi

# Where Docker's data are, what they hold, and on what they would be.
root=$(sed -n 's/.*"data-root"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$ETC/docker/daemon.json" 2>/dev/null | head -n 1)
root=${root:-$DEFAULT_ROOT}

holds() {
    [ -n "$(find "$1/containers" "$1/volumes" "$1"/image/*/imagedb/content/sha256 \
        -mindepth 1 -maxdepth 1 ! -name metadata.db ! -name backingFsBlockDev 2>/dev/null | head -n 1)" ]
}
# The mount point that a path is on, or would be on.
mount_of() {
    there=$1
    while [ ! -e "$there" ]; do there=$(dirname "$there"); done
    df -P "$there" | sed -n '2s/.*% *//p'
}

# Whether a drive is mounted at STORAGE. Sticks and card readers on USB say that they are removable, and
# drives do not.
drive() {
    [ -n "${STORAGE:-}" ] && mountpoint -q "$STORAGE" || return
    [ "${DRIVE:-auto}" = auto ] || return 0
    source=$(findmnt -nro SOURCE --mountpoint "$STORAGE" | tail -n 1)
    [ "$(lsblk -snro TYPE,TRAN,RM "${source%%\[*}" 2>/dev/null | sed -n 's/^disk //p' | head -n 1)" != "usb 1" ]
}

if [ "${TARGET:-}" = auto ]; then
    TARGET=
    if mountpoint -q "$STORAGE" && { [ "$root" = "$STORAGE/docker" ] || { drive && ! holds "$root"; }; }; then
        TARGET=$STORAGE/docker
    fi
    echo "chosen $TARGET"
fi
: "${TARGET:=$root}"
echo "root $root"
echo "mount $(mount_of "$TARGET")"
case $TARGET in
    "${STORAGE:-/}"/*) ;;
    *) if drive; then echo "beside $STORAGE"; fi ;;
esac
guard=$(sed -n 's/^RequiresMountsFor=//p' "$ETC/systemd/system/docker.service.d/gridberry.conf" 2>/dev/null)
[ -z "$guard" ] || echo "guard $guard"
if [ -f "$TARGET/.gridberry-copy-of" ]; then echo "copy $(cat "$TARGET/.gridberry-copy-of")"; fi
if [ "$TARGET" != "$root" ]; then
    if holds "$TARGET"; then echo "there yes"; fi
    if holds "$root"; then
        echo "here yes"
        echo "size $(du -sxm "$root" | cut -f 1)"
        there=$TARGET
        while [ ! -d "$there" ]; do there=$(dirname "$there"); done
        echo "room $(df -Pm "$there" | awk 'NR == 2 {print $4}')"
    fi
fi
