# Ends what a power cut broke off in dpkg. Waits while another program has dpkg's lock, and does nothing if
# that program leaves nothing to end. Needs root; DPKG is for tests.
#
#   SECONDS_LEFT must be set before. Prints `finished` where there was something to end.
: "${DPKG:=/var/lib/dpkg}"
# dpkg says in the host's language why it does nothing.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
broken() {
    [ -n "$(ls -A "$DPKG/updates" 2>/dev/null)" ] ||
        dpkg-query --admindir="$DPKG" -W -f='${db:Status-Status}\n' |
        grep -qxE 'half-configured|half-installed|unpacked|triggers-awaited|triggers-pending'
}
while broken; do
    said=$(dpkg --configure -a --force-confold </dev/null 2>&1) && {
        apt-get -y -q --fix-broken --no-install-recommends install </dev/null || exit
        echo finished
        exit 0
    }
    case $said in *lock*) ;; *)
        echo "$said" | tail -n 5
        exit 1
        ;;
    esac
    if [ "$SECONDS_LEFT" -le 0 ]; then
        echo "another program has had dpkg's lock for too long (packages_lock_timeout)"
        exit 1
    fi
    sleep 5
    SECONDS_LEFT=$((SECONDS_LEFT - 5))
done
