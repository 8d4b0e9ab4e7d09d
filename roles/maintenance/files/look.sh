# Tells how a host and its bot are, in lines of a word and a value. Reads only. From the environment:
#
#   WAIT    seconds to wait until the host has started and the containers in EXPECT are healthy
#   EXPECT  names of containers, separated by blanks
#   for tests: PROC, DPKG
: "${PROC:=/proc}" "${DPKG:=/var/lib/dpkg}" "${WAIT:=0}"

uptime_now() { cut -d . -f 1 "$PROC/uptime"; }

# A line for each of the bot's containers: name, state, health.
containers() {
    docker ps --all --quiet --filter label=gridberry.configuration |
        xargs -r docker inspect --format \
            '{{.Name}} {{.State.Status}} {{with .State.Health}}{{.Status}}{{else}}unchecked{{end}}' |
        sed 's/^\///'
}

settled() {
    case $(systemctl is-system-running) in starting | initializing | offline) return 1 ;; esac
    [ -n "$EXPECT" ] || return 0
    found=$(containers 2>/dev/null)
    for name in $EXPECT; do
        case "
$found
" in *"
$name running healthy
"* | *"
$name running unchecked
"*) ;; *) return 1 ;; esac
    done
}

end=$(($(uptime_now) + WAIT))
while [ "$WAIT" -gt 0 ] && ! settled && [ "$(uptime_now)" -lt "$end" ]; do sleep 2; done

echo "boot $(cat "$PROC/sys/kernel/random/boot_id")"
echo "system $(systemctl is-system-running)"
systemctl list-units --failed --plain --no-legend | sed 's/^\([^ ]*\).*/failed \1/'
echo "free $(df -Pm /var | awk 'NR == 2 {print $4}')"

if command -v rpi-eeprom-update >/dev/null; then
    rpi-eeprom-update -s -m /dev/stdout 2>/dev/null </dev/null | sed -n 's/^BOOTLOADER_CURRENT=/bootloader /p'
fi
if [ -n "$(ls -A "$DPKG/updates" 2>/dev/null)" ]; then echo "dpkg interrupted"; fi
if command -v docker >/dev/null; then
    if found=$(containers 2>/dev/null) && docker version >/dev/null 2>&1; then
        echo "docker answers"
        echo "$found" | sed -n 's/^./container &/p'
        # The bot's own account of its books; a bot that is not well ends with 1.
        for bot in $(echo "$found" | sed -n 's/^\([^ ]*-bot\) running .*/\1/p'); do
            echo "books $(docker exec "$bot" gridbot status --json 2>/dev/null </dev/null | tr -d '\n')"
        done
    else
        echo "docker silent"
    fi
fi
true
