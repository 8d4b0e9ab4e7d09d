# Puts new SSH settings and firewall rules in force from /run, where a power cut forgets them, and arms a
# timer that takes them back. Nothing on the disk changes, but for an empty file that holds a place.
#
# Set before, as root: SSHD_DROP_IN, FIREWALL   the role's files
#                      SSHD_NEW, FIREWALL_NEW   their new contents; empty for what is not tried
#                      IN_FORCE                 lines that sshd -T must print then
#                      ROLLBACK                 the text of rollback.sh
#                      SECONDS_LEFT             until it runs;  LOGIN, FROM  who is logged in, from where
# RUN may be set, for the tests.
# Prints "problem ..." where something is in the way; then all is as it was.
RUN=${RUN:-/run/gridberry/hardening}
UNIT=gridberry-hardening-rollback

problem() {
    sh "$RUN/rollback" >/dev/null 2>&1
    systemctl stop "$UNIT.timer" >/dev/null 2>&1
    echo "problem $*"
    exit 0
}

# One that was broken off and whose timer has not run yet.
if [ -e "$RUN/rollback" ]; then
    systemctl stop "$UNIT.timer" >/dev/null 2>&1
    sh "$RUN/rollback"
fi
umask 077
mkdir -p "$RUN"
{
    printf 'RUN=%s\nSSHD_DROP_IN=%s\nFIREWALL=%s\n' "$RUN" "$SSHD_DROP_IN" "$FIREWALL"
    printf '%s\n' "$ROLLBACK"
} >"$RUN/rollback"

if [ -n "$SSHD_NEW" ]; then
    printf '%s\n' "$SSHD_NEW" >"$RUN/sshd.conf"
    # sshd reads its files when it is reloaded, so nothing is in force before that.
    [ -e "$SSHD_DROP_IN" ] || : >"$SSHD_DROP_IN"
    mount --bind "$RUN/sshd.conf" "$SSHD_DROP_IN" || problem "the new SSH settings cannot be tried: mount failed"
    said=$(sshd -t 2>&1) || problem "sshd refuses the new SSH settings: $(echo "$said" | tail -n 1)"
    told=$(sshd -T -C "user=$LOGIN,host=$FROM,addr=$FROM" 2>&1) || problem "sshd refuses the new SSH settings: $told"
    missing=$(echo "$IN_FORCE" | while read -r line; do
        echo "$told" | grep -qixF -e "$line" || echo "$line, "
    done)
    [ -z "$missing" ] || problem "something else in /etc/ssh/sshd_config or sshd_config.d wins over" \
        "hardening's $(echo "$missing" | tr -d '\n' | sed 's/, $//'); take it out there"
fi
if [ -n "$FIREWALL_NEW" ]; then
    printf '%s\n' "$FIREWALL_NEW" >"$RUN/new.nft"
    said=$(nft -c -f "$RUN/new.nft" 2>&1) || problem "nft refuses the new rules: $(echo "$said" | head -n 1)"
    if nft list table inet gridberry >/dev/null 2>&1 && [ -e "$FIREWALL" ]; then : >"$RUN/firewall.was-loaded"; fi
fi

said=$(systemd-run --quiet --collect --unit="$UNIT" --on-active="$SECONDS_LEFT" \
    --timer-property=AccuracySec=1s /bin/sh "$RUN/rollback" 2>&1) ||
    problem "the timer that would take back the new settings cannot be armed: $said"
if [ -n "$FIREWALL_NEW" ]; then
    mv "$RUN/new.nft" "$RUN/firewall.nft"
    said=$(nft -f "$RUN/firewall.nft" 2>&1) || problem "nft refuses the new rules: $(echo "$said" | head -n 1)"
fi
if [ -n "$SSHD_NEW" ] && systemctl is-active -q ssh.service; then
    said=$(systemctl reload ssh.service 2>&1) || problem "sshd does not take the new SSH settings: $said"
fi
echo trying
