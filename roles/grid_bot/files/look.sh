# Tells what a rollout asks beside the bot's status, as one object of JSON. Reads only.
#
#   PROJECT, DIRECTORY, of the bot's configuration, and BACKUP, the file with the last backup's result, must be
#   set before.
audit=$(docker exec "$PROJECT-bot" gridbot audit --json --config /etc/gridbot/bot.toml 2>/dev/null)
# Interactive Brokers tells the trades of today alone: what a grid did before cannot be compared.
comparable=true
grep -qs '^name = "ib"' "$DIRECTORY/bot.toml" && comparable=false
printf '{"audit": %s, "comparable": %s, "releases": [' "${audit:-null}" "$comparable"
between=
for record in "$DIRECTORY"/releases/*/release.json; do
    [ -f "$record" ] || continue
    printf '%s' "$between"
    cat "$record"
    between=,
done
printf '], "now": %s, "backup": %s}\n' "$(date +%s)" "$(cat "$BACKUP" 2>/dev/null || echo null)"
