# Tells whether the configuration to come would go on with the grids that run, before anything is
# replaced. Changes nothing, and costs next to nothing where the configuration is the same.
#
#   DIRECTORY, VOLUME, IMAGE and TOML (the text of the bot.toml to come) must be set before.
#
# Prints nothing where it would, else a line `refused: REASON` or `not compared: REASON`.
printf '%s' "$TOML" | cmp -s - "$DIRECTORY/bot.toml" && exit 0
docker volume inspect "$VOLUME" >/dev/null 2>&1 || exit 0 # no bot has traded here
# In check mode the image may not be here yet: then the one that runs compares.
docker image inspect "$IMAGE" >/dev/null 2>&1 ||
    IMAGE=$(docker inspect --format '{{.Image}}' gridberry-bot 2>/dev/null) || exit 0
file=$(mktemp /run/gridberry-XXXXXX) || exit
trap 'rm -f "$file"' EXIT
printf '%s' "$TOML" >"$file"
chmod 0644 "$file"
said=$(docker run --rm --pull never --network none --read-only --cap-drop ALL \
    --security-opt no-new-privileges --user 10001:10001 \
    --volume "$file:/etc/gridbot/bot.toml:ro" --volume "$VOLUME:/var/lib/gridbot" \
    "$IMAGE" check --offline --config /etc/gridbot/bot.toml --state /var/lib/gridbot \
    2>&1 >/dev/null)
status=$?
# 1 is the answer no. Anything else is none: books of an older bot, an image that cannot compare.
case $status in
    0) exit 0 ;;
    1) echo "refused: $(echo "$said" | tail -n 1 | sed 's/^gridbot check: //')" ;;
    *) echo "not compared: $(echo "$said" | tail -n 1 | sed 's/^gridbot check: //')" ;;
esac
