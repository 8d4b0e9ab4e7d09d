# Tells whether the containers are what the configuration on this host asks for. Reads only.
#
#   DIRECTORY must be set before.
#
# Prints one line `ok` where nothing has to be done, else lines that say what differs.
cd "$DIRECTORY" 2>/dev/null && [ -f compose.yaml ] || { echo "not configured yet"; exit 0; }
wanted=$(docker compose config --hash '*' 2>&1) || { echo "compose: $wanted"; exit 0; }
differs=
while read -r service hash; do
    is=$(docker inspect --format \
        '{{index .Config.Labels "com.docker.compose.config-hash"}} {{.State.Status}} {{.State.Health.Status}} {{.Config.Image}} {{.Image}}' \
        "gridberry-$service" 2>/dev/null) || { echo "$service does not run"; differs=1; continue; }
    # shellcheck disable=SC2086 # five words
    set -- $is
    image=$(docker image inspect --format '{{.Id}}' "$4" 2>/dev/null)
    [ "$1" = "$hash" ] || { echo "$service has an older configuration"; differs=1; }
    [ "$2 $3" = "running healthy" ] || { echo "$service is $2 and $3"; differs=1; }
    [ "$5" = "$image" ] || { echo "$service has an older image"; differs=1; }
done <<EOT
$wanted
EOT
count=$(docker ps --all --quiet --filter label=com.docker.compose.project=gridberry | wc -l)
[ "$count" -eq "$(echo "$wanted" | wc -l)" ] || { echo "$count containers exist"; differs=1; }
[ -n "$differs" ] || echo ok
