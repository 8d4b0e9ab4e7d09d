# Tells whether the containers are what the configuration on this host asks for. Reads only, with few
# calls of docker: each costs a second on an emulated Pi.
#
#   DIRECTORY and PROJECT, compose's name for all of them, must be set before.
#
# Prints one line `ok` where nothing has to be done, else lines that say what differs.
cd "$DIRECTORY" 2>/dev/null && [ -f compose.yaml ] || { echo "not configured yet"; exit 0; }
wanted=$(docker compose config --hash '*' 2>&1) || { echo "compose: $wanted"; exit 0; }
images=$(docker image ls --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' 2>/dev/null)
# A line for each container: service, hash of its configuration, state, health, ID of its image.
containers=$(docker ps --all --quiet --filter label=com.docker.compose.project="$PROJECT" |
    xargs -r docker inspect --format '{{with .Config.Labels}}{{index . "com.docker.compose.service"}} {{index . "com.docker.compose.config-hash"}}{{end}} {{.State.Status}} {{with .State.Health}}{{.Status}}{{else}}unchecked{{end}} {{.Image}}')
differs=
[ -d releases ] || { echo "no release is recorded"; differs=1; }
while read -r service hash; do
    # shellcheck disable=SC2046 # five words, or none
    set -- $(echo "$containers" | grep "^$service ")
    [ $# -eq 5 ] || { echo "$service does not run"; differs=1; continue; }
    [ "$2" = "$hash" ] || { echo "$service has an older configuration"; differs=1; }
    [ "$3 $4" = "running healthy" ] || { echo "$service is $3 and $4"; differs=1; }
    image=$(sed -n "/^  $service:\$/,/^    image: /s/^    image: //p" compose.yaml | head -n 1)
    echo "$images" | grep -qxF "$image $5" || { echo "$service has an older image"; differs=1; }
done <<EOT
$wanted
EOT
count=$(echo "$containers" | grep -c .)
[ "$count" -eq "$(echo "$wanted" | wc -l)" ] || { echo "$count containers exist"; differs=1; }
[ -n "$differs" ] || echo ok
