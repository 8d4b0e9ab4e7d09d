# Tells whether the configuration to come would go on with the grids that run, before anything is
# replaced. Changes nothing, and costs next to nothing where the configuration is the same.
#
#   DIRECTORY, PROJECT, VOLUME, IMAGE and TOML (the text of the bot.toml to come) must be set before.
#
# Prints nothing where it would, else one of these lines, and the last one beside it:
#
#   fenced: REASON        its books were handed over
#   refused: REASON       it would not go on
#   not compared: REASON  nobody can say yet: the books are of an older bot, which the new one migrates
#   unknown: REASON       the question could not be asked, also not again; nothing may be replaced
#   migrates: OLD NEW     the image to come brings the books to a schema that the bot which runs cannot
#                         read: there is no way back
command -v docker >/dev/null || exit 0 # check mode on a host to come
if [ -e "$DIRECTORY/fenced" ]; then echo "fenced: $(head -n 1 "$DIRECTORY/fenced")" && exit 0; fi
printf '%s' "$TOML" | cmp -s - "$DIRECTORY/bot.toml" &&
    grep -qxF "    image: $IMAGE" "$DIRECTORY/compose.yaml" && exit 0
volumes=$(docker volume ls --quiet --filter "name=^$VOLUME\$" 2>&1) || {
    echo "unknown: docker volume ls: $(echo "$volumes" | tail -n 1)"
    exit 0
}
[ -n "$volumes" ] || exit 0 # no bot has traded here
# In check mode the image may not be here yet: then the one that runs compares.
older=
if ! docker image inspect "$IMAGE" >/dev/null 2>&1; then
    older=yes
    IMAGE=$(docker inspect --format '{{.Image}}' "$PROJECT-bot" 2>/dev/null) || {
        echo "not compared: the image is not here yet, and no bot runs"
        exit 0
    }
fi
# Images name the schema that they write, and the oldest one whose bots can read that.
schemas='{{with .Config.Labels}}{{index . "gridberry.state-schema"}} {{index . "gridberry.state-oldest-reader"}}{{end}}'
# shellcheck disable=SC2046 # three words, or fewer
set -- $(docker inspect --format "$schemas" "$PROJECT-bot" 2>/dev/null | cut -d ' ' -f 1) \
    $(docker image inspect --format "$schemas" "$IMAGE" 2>/dev/null)
[ $# -ne 3 ] || [ "$1" -ge "$3" ] || echo "migrates: $1 $2"
file=$(mktemp /run/gridberry-XXXXXX) || exit
trap 'rm -f "$file"' EXIT
printf '%s' "$TOML" >"$file"
chmod 0644 "$file"
tries=3
while :; do
    said=$(docker run --rm --pull never --network none --read-only --cap-drop ALL \
        --security-opt no-new-privileges --user 10001:10001 \
        --volume "$file:/etc/gridbot/bot.toml:ro" --volume "$VOLUME:/var/lib/gridbot" \
        "$IMAGE" check --offline --config /etc/gridbot/bot.toml --state /var/lib/gridbot \
        2>&1 >/dev/null)
    status=$?
    said=$(echo "$said" | tail -n 1 | sed 's/^gridbot check: //')
    tries=$((tries - 1))
    case "$status $older $said" in
        "0 "*) ;;
        *"exec format error"*) echo "refused: its image has programs of another processor (exec format error)" ;;
        "1 "*) echo "refused: $said" ;;
        *"written by a newer gridbot"*) echo "refused: $said" ;;
        "4  "*"written by an older gridbot"*)
            # The bot that runs reads them, where it knows all settings.
            older=yes
            IMAGE=$(docker inspect --format '{{.Image}}' "$PROJECT-bot" 2>/dev/null) && continue
            echo "not compared: $said"
            ;;
        "2 yes "* | *" yes "*"written by an older gridbot"*)
            echo "not compared: the image that runs cannot: $said"
            ;;
        *)
            [ "$tries" -eq 0 ] || { sleep 3 && continue; }
            echo "unknown: the comparison ended with status $status: $said"
            ;;
    esac
    exit 0
done
