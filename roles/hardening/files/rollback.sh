# Takes back what trial.sh has put in force. Runs on the host alone: it is what helps when nobody can log
# in any more.
#
#   RUN, SSHD_DROP_IN and FIREWALL are set before, in the file that trial.sh makes of this.
if mountpoint -q "$SSHD_DROP_IN"; then
    umount "$SSHD_DROP_IN"
    # Made for the trial, where the file was not there before.
    [ -s "$SSHD_DROP_IN" ] || rm -f "$SSHD_DROP_IN"
    if systemctl is-active -q ssh.service; then systemctl reload ssh.service; fi
fi
if [ -e "$RUN/firewall.nft" ]; then
    if [ -e "$RUN/firewall.was-loaded" ]; then
        nft -f "$FIREWALL"
    else
        nft delete table inet gridberry 2>/dev/null
    fi
fi
# Last, as this script is in there.
rm -rf "$RUN"
