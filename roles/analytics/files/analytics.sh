#!/bin/sh
# Runs comparisons and searches in containers. Put in place by Ansible (role analytics).
#
#   analytics.sh room MB DIRECTORY
#   analytics.sh night IMAGE DIRECTORY MB RECORDING RESULTS [BOT...]
#   analytics.sh scheduler|worker IMAGE DIRECTORY MB WORD...
#
# `room` ends with status 1 while less memory is available, or less than 1 GB is free on the results' disk.
set -eu
what=$1
shift

if [ "$what" = room ]; then
    available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    free=$(df --output=avail -k "$2" | tail -n 1)
    if [ "$available" -lt $(($1 * 1024)) ] || [ "$free" -lt 1048576 ]; then
        echo "no room: $((available / 1024)) MB of memory available, $((free / 1024)) MB free in $2"
        exit 1
    fi
    exit 0
fi

image=$1 directory=$2 megabytes=$3
shift 3
name=gridberry-analytics
[ "$what" = night ] || name=$name-$what
# Without a pool nothing is reached, and nothing reaches it.
pool='' network=none
[ ! -e "$directory/tls/pool.key" ] || pool=yes network=host

run() {
    exec docker run --rm --name "$name" --pull never --cgroup-parent gridberry_analytics.slice \
        --memory "${megabytes}m" --memory-swap "${megabytes}m" --pids-limit 128 --read-only \
        --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp:size=128m,mode=1777,nosuid,nodev \
        --log-driver none --network "$network" \
        ${pool:+--volume "$directory/tls:/etc/analytics/tls:ro"} "$@"
}

if [ "$what" != night ]; then
    run "$image" "$what" "$@" --tls /etc/analytics/tls
fi

recording=$1 results=$2
shift 2
# Each bot's books: the volume that its container has, whatever the mode.
volumes=
for bot; do
    books=$(docker container inspect "$bot-bot" --format \
        '{{range .Mounts}}{{if eq .Destination "/var/lib/gridbot"}}{{.Source}}{{end}}{{end}}' || true)
    [ -z "$books" ] || volumes="$volumes --volume $books:/bots/$bot:ro"
done
# shellcheck disable=SC2086 # words
run --volume "$directory/analytics.toml:/etc/analytics/analytics.toml:ro" \
    --volume "$recording:/var/lib/recorder:ro" --volume "$results:/var/lib/analytics" $volumes \
    "$image" nightly --config /etc/analytics/analytics.toml
