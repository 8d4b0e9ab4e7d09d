# Tells what a rollout asks beside the bot's status, as one object of JSON. Reads only.
#
#   DIRECTORY, of the bot's configuration, and BACKUP, the file with the last backup's result, must be
#   set before.
audit=$(docker exec gridberry-bot gridbot audit --json --config /etc/gridbot/bot.toml 2>/dev/null)
printf '{"audit": %s, "releases": [' "${audit:-null}"
between=
for number in $(ls "$DIRECTORY/releases" 2>/dev/null | grep -x '[0-9]*' | sort -n); do
    printf '%s' "$between"
    cat "$DIRECTORY/releases/$number/release.json"
    between=,
done
printf '], "now": %s, "backup": %s}\n' "$(date +%s)" "$(cat "$BACKUP" 2>/dev/null || echo null)"
