# Upgrades a host's packages, so that whatever is cut off is ended by the next run. Configuration files
# that were changed stay as they are; programs keep running until the reboot. From the environment:
#
#   MODE    change, or check: tell what would be done, by the package lists as they are
#   FULL    yes: packages may be removed where an upgrade needs it
#   DOCKER  yes: Docker's packages, too
#   EEPROM  yes: a bootloader that is due is staged, too; the reboot that comes next writes it
#   for tests: LISTS, NOTES, RUN, LOCK_SECONDS to wait for another program that installs
#
# Prints lines of a word and a value: `upgraded NAME OLD NEW`, `new NAME VERSION`, `removed NAME`,
# `held NAME` for what could be upgraded and is not, `initramfs anew` where unattended upgrades left that
# undone, `bootloader OLD NEW` in seconds since 1970, `bootloader_left WHY` where one is due and is not staged,
# and in check mode `lists SECONDS`, their age.
set -u
: "${LISTS:=/var/lib/apt/lists}" "${LOCK_SECONDS:=600}" "${NOTES:=/var/lib/gridberry}" "${RUN:=/run}"
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l APT_LISTCHANGES_FRONTEND=none LC_ALL=C.UTF-8
work=$(mktemp -d /run/gridberry-upgrade-XXXXXX) || exit
trap 'rm -rf "$work"' EXIT
verb=upgrade
[ "$FULL" != yes ] || verb=dist-upgrade

# Docker is taken out of apt's sight for this run alone: nothing of it is left after a power cut.
{
    cat /etc/apt/preferences 2>/dev/null
    [ "$DOCKER" = yes ] || cat <<'EOT'

Package: docker.io docker-cli docker-compose docker-buildx containerd runc docker-ce docker-ce-* containerd.io docker-compose-plugin docker-buildx-plugin
Pin: version *
Pin-Priority: -1
EOT
} >"$work/preferences"

apt() {
    apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confdef \
        -o Dpkg::Options::=--force-confold "$@" </dev/null
}
# What an upgrade does, as apt foresees it.
plan() {
    apt-get -q -s "$@" >"$work/foreseen" 2>&1 || {
        grep '^E:' "$work/foreseen" | tail -n 1
        return 1
    }
    sed -n -E -e 's/^Inst ([^ ]+) \[([^]]+)\] \(([^ ]+) .*/upgraded \1 \2 \3/p' \
        -e 's/^Inst ([^ ]+) \(([^ ]+) .*/new \1 \2/p' -e 's/^Remv ([^ ]+) .*/removed \1/p' "$work/foreseen"
}

# What the role hardening keeps unattended upgrades from doing: the boot partition's initramfs.
initramfs() {
    [ -e "$NOTES/initramfs-waits" ] || return 0
    [ "$MODE" != change ] || { update-initramfs -u && sync && rm "$NOTES/initramfs-waits"; } >"$work/log" 2>&1 || {
        echo "update-initramfs: $(tail -n 1 "$work/log")"
        return 1
    }
    echo "initramfs anew"
}
# rpi-eeprom-update ends with 1 where an update is due, with 2 where something is wrong, and told to stage
# one with 3 where the bootloader's own settings forbid it. -s: only what its makers want everybody to have.
bootloader() {
    command -v rpi-eeprom-update >/dev/null || return 0
    rpi-eeprom-update -s -m "$work/eeprom" </dev/null >"$work/log" 2>&1
    case $? in
        0) return ;;
        1) [ "$EEPROM" = yes ] || { echo "bootloader_left no reboot in this run would write it" && return; } ;;
        *) echo "bootloader_left $(tail -n 1 "$work/log")" && return ;;
    esac
    status=0
    if [ "$MODE" = change ]; then
        rpi-eeprom-update -s -a </dev/null >"$work/log" 2>&1
        status=$?
    fi
    case $status in
        0) ;;
        3) echo "bootloader_left its settings freeze it" && return ;;
        *) echo "rpi-eeprom-update: $(tail -n 1 "$work/log")" && return 1 ;;
    esac
    # As packages do that ask for a reboot.
    [ "$MODE" != change ] || { sync && touch "$RUN/reboot-required"; }
    echo "bootloader $(sed -n 's/^BOOTLOADER_CURRENT=//p' "$work/eeprom") $(sed -n 's/^BOOTLOADER_LATEST=//p' "$work/eeprom")"
}

# A power cut during an installation: dpkg refuses all work until the first of these is done.
prepare() {
    dpkg --configure -a --force-confdef --force-confold </dev/null &&
        apt --fix-broken install && apt update
}

if [ "$MODE" = change ]; then
    # apt waits for one of the locks by itself, and neither does so for the others.
    left=$LOCK_SECONDS
    until prepare >"$work/log" 2>&1; do
        case $(cat "$work/log") in *[Ll]ock*) ;; *) left=0 ;; esac
        if [ "$left" -le 0 ]; then
            grep -v '^ *$' "$work/log" | tail -n 3
            exit 1
        fi
        sleep 5
        left=$((left - 5))
    done
else
    newest=$(find "$LISTS" -maxdepth 1 -name '*_Packages*' -printf '%C@\n' 2>/dev/null | sort -n | tail -n 1)
    if [ -z "$newest" ]; then
        echo "there are no package lists yet: run it without --check, or apt update"
        exit 1
    fi
    echo "lists $(($(date +%s) - ${newest%%.*}))"
fi

plan -o "Dir::Etc::Preferences=$work/preferences" "$verb" --with-new-pkgs >"$work/plan" || {
    cat "$work/plan"
    exit 1
}
# What is left out: by the pin, or because it needs something to be removed.
plan dist-upgrade >"$work/all" || exit
sed -n 's/^upgraded \([^ ]*\) .*/\1/p' "$work/plan" >"$work/going"
sed -n 's/^upgraded \([^ ]*\) .*/\1/p' "$work/all" | grep -vxF -f "$work/going" | sed 's/^/held /'
if [ "$MODE" = change ] && [ -s "$work/plan" ]; then
    apt -o "Dir::Etc::Preferences=$work/preferences" "$verb" --with-new-pkgs >"$work/log" 2>&1 || {
        grep -E '^(E:|dpkg: error|Errors were)' "$work/log" | tail -n 3
        exit 1
    }
    # The downloaded packages are of no more use, and a card is small.
    apt clean >/dev/null 2>&1
    sync
fi
cat "$work/plan"
initramfs && bootloader
