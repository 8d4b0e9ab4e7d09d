#!/bin/sh
# Before vmagent starts: a drive that takes nothing any more is let go. What this host says of such a drive must come
# all the same; so until it is back, what cannot be sent is kept on the card.
set -eu
here=/var/lib/private/gridberry-vmagent
mountpoint -q "$here" || exit 0
if ! timeout -s KILL 20 sh -c ': >"$1/tried" && sync "$1/tried" && rm "$1/tried"' - "$here"; then
    echo "$here: its drive takes nothing; what cannot be sent is kept on the card"
    umount --lazy "$here"
fi
