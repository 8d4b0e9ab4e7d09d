# Tells which grids of a live bot are open, whose orders its removal would leave on the exchange. Reads
# only. DIRECTORY, where the bot's configuration is, and PROJECT must be set before.
#
# Prints `open SYMBOL` for each, or `unknown REASON` where its books cannot be asked.
grep -qs '^mode = "live"' "$DIRECTORY/bot.toml" || exit 0
command -v docker >/dev/null || { echo "unknown Docker is not there" && exit 0; }
volumes=$(docker volume ls --quiet --filter "name=^$PROJECT-live-bot\$" 2>&1) || {
    echo "unknown $(echo "$volumes" | tail -n 1)"
    exit 0
}
[ -n "$volumes" ] || exit 0 # it has not traded here
image=$(docker inspect --format '{{.Image}}' "$PROJECT-bot" 2>&1) || {
    echo "unknown $(echo "$image" | tail -n 1)"
    exit 0
}
# The bot may be stopped, as it is after `gridbot close`.
docker run --rm --interactive --pull never --network none --read-only --cap-drop ALL \
    --security-opt no-new-privileges --user 10001:10001 --entrypoint python3 \
    --volume "$PROJECT-live-bot":/var/lib/gridbot "$image" - 2>"/run/$PROJECT-orders" <<'PYTHON' ||
import pathlib
from gridbot.store import Store

directory = pathlib.Path("/var/lib/gridbot")
if any(directory.iterdir()):  # it has traded
    store = Store(directory, read_only=True)
    for symbol in store.symbols():
        grid_run = getattr(store, "grid_run", None) or store.generation  # older images
        grid = grid_run(symbol)
        if grid is not None and grid.closed_ms is None:
            print("open", symbol)
PYTHON
    echo "unknown $(tail -n 1 "/run/$PROJECT-orders")"
rm -f "/run/$PROJECT-orders"
