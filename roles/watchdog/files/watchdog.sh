# Looks at who holds the watchdog, and hands it over. The device is never opened here: that would arm it.
#
#   VERB     what to do, below
#   TIMEOUT  seconds;  SPAN, REBOOT_SPAN  what systemctl should show, such as 1min
#   NOTE     what was before;  DROPIN, CONFIGURATION  files of the daemon that Gridberry wrote
#   SYS, PROC  /sys and /proc
: "${SYS:=/sys}" "${PROC:=/proc}"
device=$SYS/class/watchdog/watchdog0

# holds PID: whether a process has a watchdog device open.
holds() {
    [ -n "$(find "$PROC/$1/fd" -lname '/dev/watchdog*' -print 2>/dev/null | head -n 1)" ]
}

shown() { systemctl show -p "$1" --value; }

# What the kernel says of the device, where it says anything.
counts() {
    if [ -r "$device/state" ]; then
        read -r state <"$device/state"
        [ "$state" = active ] || { echo "the watchdog is $state"; return 1; }
    fi
    if [ -r "$device/timeout" ]; then
        read -r seconds <"$device/timeout"
        [ "$seconds" = "$TIMEOUT" ] || { echo "the watchdog counts to $seconds s and should to $TIMEOUT"; return 1; }
    fi
}

# shows SPAN: whether systemd's own settings are these.
shows() {
    for one in "RuntimeWatchdogUSec=$1" "RebootWatchdogUSec=$REBOOT_SPAN"; do
        found=$(shown "${one%%=*}")
        [ "$found" = "${one#*=}" ] || { echo "systemd's ${one%%=*} is $found and should be ${one#*=}"; return 1; }
    done
}

probe_systemd() {
    shows "$SPAN" || return 1
    holds 1 || { echo "systemd does not hold the watchdog"; return 1; }
    counts
}

probe_released() {
    shows 0 || return 1
    if holds 1; then echo "systemd holds the watchdog"; return 1; fi
}

probe_daemon() {
    systemctl is-enabled -q watchdog.service 2>/dev/null || { echo "watchdog.service does not start at boot"; return 1; }
    pid=$(systemctl show -p MainPID --value watchdog.service)
    if [ "${pid:-0}" -eq 0 ]; then echo "watchdog.service does not run"; return 1; fi
    holds "$pid" || { echo "the daemon does not hold the watchdog"; return 1; }
    counts
}

# wd_keepalive comes with the package, starts when the daemon stops, and would hold the device.
stop_daemon() {
    if systemctl cat watchdog.service >/dev/null 2>&1; then
        systemctl disable -q --no-reload watchdog.service
        systemctl stop watchdog.service
        systemctl stop wd_keepalive.service
        systemctl reset-failed watchdog.service 2>/dev/null
    fi
    :
}

daemon_is_away() {
    for unit in watchdog.service wd_keepalive.service; do
        if systemctl is-active -q "$unit"; then echo "$unit runs"; return 1; fi
    done
    if systemctl is-enabled -q watchdog.service 2>/dev/null; then echo "watchdog.service starts at boot"; return 1; fi
}

case $VERB in
    probe-note) [ -e "$NOTE" ] || { echo "not noted yet"; exit 1; } ;;
    note)
        # Only a daemon that somebody else set up comes back with an undo.
        was=none
        if [ ! -e "$DROPIN" ] && systemctl is-enabled -q watchdog.service 2>/dev/null; then was=enabled; fi
        mkdir -p "$(dirname "$NOTE")" && echo "daemon $was" >"$NOTE.new" && sync "$NOTE.new" &&
            mv "$NOTE.new" "$NOTE" && sync "$(dirname "$NOTE")"
        ;;
    probe-away)
        daemon_is_away || exit 1
        [ ! -e "$DROPIN" ] && [ ! -e "$CONFIGURATION" ] || { echo "the daemon's files are still there"; exit 1; }
        ;;
    away)
        stop_daemon
        rm -f "$DROPIN" "$CONFIGURATION"
        rmdir "$(dirname "$DROPIN")" 2>/dev/null
        systemctl daemon-reload
        ;;
    probe-systemd) probe_systemd ;;
    systemd)
        # Changes the time that an open device counts to, or opens it: without a moment unarmed.
        systemctl daemon-reload
        probe_systemd >/dev/null || systemctl daemon-reexec
        ;;
    probe-released) probe_released ;;
    released)
        # Before systemd lets go, so that a reboot in between finds the daemon in charge.
        # One reload, not one for each: while PID 1 reloads it does nothing else.
        systemctl enable -q --no-reload watchdog.service && systemctl daemon-reload || exit 1
        probe_released >/dev/null || systemctl daemon-reexec
        ;;
    probe-daemon) probe_daemon ;;
    daemon)
        # Nobody holds the device now: no reload that is not needed.
        systemctl is-enabled -q watchdog.service 2>/dev/null || systemctl enable -q --no-reload watchdog.service || exit 1
        [ "$(systemctl show -p NeedDaemonReload --value watchdog.service)" = no ] || systemctl daemon-reload || exit 1
        systemctl restart watchdog.service
        ;;
    probe-stopped) # before the daemon's files go
        [ ! -e "$DROPIN" ] || daemon_is_away
        ;;
    stopped) stop_daemon ;;
    probe-restored) [ ! -e "$NOTE" ] || { echo "the watchdog is as Gridberry set it"; exit 1; } ;;
    restored)
        # A device that cannot be stopped would reset the host once nobody holds it: systemd keeps it
        # until the next boot.
        if [ "$(cat "$device/nowayout" 2>/dev/null)" = 1 ]; then
            mkdir -p /run/systemd/system.conf.d
            printf '[Manager]\nRuntimeWatchdogSec=%s\n' "$TIMEOUT" >/run/systemd/system.conf.d/zz-gridberry-watchdog.conf
        fi
        if grep -qx 'daemon enabled' "$NOTE"; then systemctl enable -q --no-reload watchdog.service || exit 1; fi
        systemctl daemon-reload || exit 1
        if grep -qx 'daemon enabled' "$NOTE"; then systemctl restart watchdog.service || exit 1; fi
        rm -f "$NOTE"
        ;;
esac
