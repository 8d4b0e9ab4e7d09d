# Removes what this role installed, and of what apt brought along with it whatever nothing needs any more.
# Removes no package besides, and purges none: what docker.io's purge removes, the bots' books may be in.
# Needs root; NOTES and DPKG are for tests.
#
#   NAMES         the packages; those that are gone already count as removed
#   MODE          check or change
#   SECONDS_LEFT  for another program that has apt's lock
#
# Prints `removed PACKAGE` for each that goes, or in check mode would, and `problem TEXT` where none does.
: "${NOTES:=/var/lib/gridberry/packages}" "${DPKG:=/var/lib/dpkg}"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
problem() {
    echo "problem $*"
    exit 1
}
# What apt would remove, a name a line.
simulate() {
    auto=$1
    shift
    # Before, nothing had what somebody only suggests either.
    said=$(apt-get -s -o "APT::Get::AutomaticRemove=$auto" -o APT::AutoRemove::SuggestsImportant=false \
        -o APT::AutoRemove::RecommendsImportant=false remove "$@" 2>&1) ||
        problem "apt-get remove $*: $(echo "$said" | tail -n 1)"
    echo "$said" | sed -n 's/^Remv \([^ :]*\).*/\1/p'
}

# shellcheck disable=SC2086 # words
{
    noted=
    for name in $NAMES; do
        if grep -qxF "$name" "$NOTES"; then noted="$noted $name"; fi
    done
    # Without a name dpkg-query would tell of all.
    [ -n "$noted" ] || exit 0
    # Of one that is gone apt may have forgotten the name.
    going=$(dpkg-query --admindir="$DPKG" -W -f='${Package} ${db:Status-Status}\n' $noted 2>/dev/null |
        sed -n -e '/ not-installed$/d' -e '/ config-files$/d' -e 's/ .*//p')
    going=$(echo $going)
    found=$(simulate true $going) || problem "${found#problem }"
    for name in $found; do
        if grep -qxF "dependency $name" "$NOTES"; then going="$going $name"; fi
    done
    found=$(simulate false $going) || problem "${found#problem }"
    others=
    for name in $found; do
        case " $going " in *" $name "*) ;; *) others="$others $name" ;; esac
    done
    [ -z "$others" ] ||
        problem "$going cannot be removed without$others, which Gridberry did not install; remove that first"
    if [ "$MODE" = change ]; then
        [ -z "$found" ] ||
            said=$(apt-get -y -q -o APT::Get::AutomaticRemove=false -o "DPkg::Lock::Timeout=$SECONDS_LEFT" \
                remove $going </dev/null 2>&1) ||
            problem "apt-get remove: $(echo "$said" | tail -n 1)"
        # They are nobody's now: what somebody installs again is not Gridberry's to remove.
        for name in $noted $going; do printf '%s\ndependency %s\n' "$name" "$name"; done |
            grep -vxFf - "$NOTES" >"$NOTES.new"
        if [ -s "$NOTES.new" ]; then
            sync "$NOTES.new" && mv "$NOTES.new" "$NOTES"
        else
            rm -f "$NOTES.new" "$NOTES"
        fi
    fi
    for name in $found; do echo "removed $name"; done
}
