# Compares a bot's books with its account through other keys, beside the bot that runs. Changes nothing.
#
#   DIRECTORY, KEYS (a directory with api_key and api_secret), VOLUME, IMAGE and DNS must be set before.
#
# Prints what differs, last of all why it ends with a status that is not 0.
servers=
for server in $DNS; do servers="$servers --dns $server"; done
# shellcheck disable=SC2086 # several words, or none
docker run --rm --pull never $servers --read-only --cap-drop ALL --security-opt no-new-privileges \
    --user 10001:10001 --ulimit core=0 \
    --volume "$DIRECTORY/bot.toml:/etc/gridbot/bot.toml:ro" \
    --volume "$KEYS/api_key:/run/secrets/api_key:ro" --volume "$KEYS/api_secret:/run/secrets/api_secret:ro" \
    --volume "$VOLUME:/var/lib/gridbot" \
    "$IMAGE" audit --config /etc/gridbot/bot.toml 2>&1
