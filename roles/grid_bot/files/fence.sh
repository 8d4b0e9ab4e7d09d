# Fences a bot, or lifts its fence. Behind a mark in its configuration nobody starts it, and behind one beside
# its books the bot itself refuses to trade, whoever starts it: a deployment, a person, or the next boot.
#
#   PROJECT, DIRECTORY (of the configuration), TEXT (why it is fenced; empty: lift the fence) and DRY (not
#   empty: only look) must be set before.
#
# Prints `changed` where something was, or would be, changed, and last of all `running` or `stopped`.
books=$(docker inspect --format '{{range .Mounts}}{{if eq .Destination "/var/lib/gridbot"}}{{.Source}}{{end}}{{end}}' \
    "$PROJECT-bot" 2>/dev/null)
for place in "$DIRECTORY" ${books:+"$books"}; do
    if [ -n "$TEXT" ]; then
        [ ! -s "$place/fenced" ] || continue
        echo changed
        [ -n "$DRY" ] && continue
        # On the disk before anything relies on it.
        mkdir -p "$place" && printf '%s\n' "$TEXT" >"$place/fenced.new" && sync "$place/fenced.new" &&
            mv "$place/fenced.new" "$place/fenced" && sync "$place" || exit 1
    elif [ -e "$place/fenced" ]; then
        echo changed
        [ -n "$DRY" ] || rm -f "$place/fenced"
    fi
done
runs() { docker inspect --format 'running={{.State.Running}}' "$PROJECT-bot" 2>/dev/null | grep -q '=true'; }
# The mark first: what starts after it does not trade.
if runs && [ -n "$TEXT" ]; then
    echo changed
    [ -n "$DRY" ] || docker stop "$PROJECT-bot" >/dev/null
fi
if runs; then echo running; else echo stopped; fi
