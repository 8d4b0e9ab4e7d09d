# Fences a bot, or lifts its fence. Behind a mark in its configuration nobody starts it, and behind one beside
# its books the bot itself refuses to trade, whoever starts it: a deployment, a person, or the next boot.
#
#   PROJECT, DIRECTORY (of the configuration), TEXT (why it is fenced; empty: lift the fence) and DRY (not
#   empty: only look) must be set before.
#
# Prints `changed` where something was, or would be, changed, and last of all `running` or `stopped`; ends with 1
# where Docker does not say where the books are: it may start the bot later.
umask 022 # the bot, another user, says why it is fenced
away=
books=$(docker inspect --format '{{range .Mounts}}{{if eq .Destination "/var/lib/gridbot"}}{{.Source}}{{end}}{{end}}' \
    "$PROJECT-bot" 2>/dev/null) || away=$(docker inspect "$PROJECT-bot" 2>&1 >/dev/null | tail -n 1)
case $away in *[Nn]"o such "*) away= ;; esac
command -v docker >/dev/null || away= # where it is not installed, nothing runs
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
[ -z "$away" ] || { echo "the books were left as they are, as Docker does not say where: $away" >&2 && exit 1; }
runs() { docker inspect --format 'running={{.State.Running}}' "$PROJECT-bot" 2>/dev/null | grep -q '=true'; }
# The mark first: what starts after it does not trade.
if runs && [ -n "$TEXT" ]; then
    echo changed
    [ -n "$DRY" ] || docker stop "$PROJECT-bot" >/dev/null
fi
if runs; then echo running; else echo stopped; fi
