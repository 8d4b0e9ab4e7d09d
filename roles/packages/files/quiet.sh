# Keeps apt from starting services that are not configured yet; their role starts them. What runs may be
# restarted, and everything be stopped. Rules of somebody else's stay as they are, and hold alone.
#
#   QUIET  names of services; empty: all may start again
#
# The rules are in /run: after a power cut the link leads nowhere, and nothing is held back. For tests: RUN, LINK.
: "${RUN:=/run/gridberry}" "${LINK:=/usr/sbin/policy-rc.d}"
rules=$RUN/policy-rc.d
if [ "$(readlink "$LINK")" = "$rules" ]; then rm -f "$LINK" "$rules"; fi
if [ -n "$QUIET" ] && [ ! -e "$LINK" ]; then
    mkdir -p "$RUN"
    cat >"$rules" <<END
#!/bin/sh
# Of Gridberry, while it installs packages: policy-rc.d SERVICE ACTION
case " \$* " in *" start "* | *" restart "*) ;; *) exit 0 ;; esac
for word in "\$@"; do
    case " $QUIET " in *" \${word%.*} "*) systemctl is-active -q "\$word" || exit 101 ;; esac
done
END
    chmod 0755 "$rules"
    ln -sf "$rules" "$LINK"
fi
