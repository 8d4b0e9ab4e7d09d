# Keeps apt from starting services that are not configured yet; their role starts them. What runs may be
# restarted, and everything be stopped. Rules of somebody else's stay as they are, and hold alone.
#
#   QUIET  names of services; empty: all may start again
#
# The names are in /run, where nothing can be executed: after a power cut there are none, and the rules that
# are left let everything start. For tests: RUN, RULES.
: "${RUN:=/run/gridberry}" "${RULES:=/usr/sbin/policy-rc.d}"
mine='# Of Gridberry, while it installs packages.'
if grep -qsxF "$mine" "$RULES"; then rm -f "$RULES"; fi
rm -f "$RUN/quiet"
if [ -n "$QUIET" ] && [ ! -e "$RULES" ]; then
    mkdir -p "$RUN"
    echo "$QUIET" >"$RUN/quiet"
    cat >"$RULES.new" <<END
#!/bin/sh
$mine
names=\$(cat "$RUN/quiet" 2>/dev/null) || exit 0
case " \$* " in *" start "* | *" restart "*) ;; *) exit 0 ;; esac
for word in "\$@"; do
    case " \$names " in *" \${word%.*} "*) systemctl is-active -q "\$word" || exit 101 ;; esac
done
END
    chmod 0755 "$RULES.new"
    mv "$RULES.new" "$RULES"
fi
