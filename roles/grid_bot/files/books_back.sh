# Puts the books from before a release in place of those that its bot wrote, which stay beside them; the bot is
# stopped. PROJECT, RELEASE, VOLUME and IMAGE, of the bot that goes on with them, must be set before.
#
# At its start that bot takes over what the exchange has since. A copy is put back once.
place=$(docker volume inspect --format '{{.Mountpoint}}' "$VOLUME") || exit
[ -e "$place/before-release-$RELEASE" ] || {
    echo "there is no copy of its books from before release $RELEASE"
    exit 0
}
docker stop "$PROJECT-bot" >/dev/null 2>&1
docker run --rm --pull never --network none --read-only --cap-drop ALL --security-opt no-new-privileges \
    --user 10001:10001 --volume "$VOLUME:/var/lib/gridbot" \
    "$IMAGE" restore --state /var/lib/gridbot "/var/lib/gridbot/before-release-$RELEASE" 2>&1 || exit
rm -f "$place/before-release-$RELEASE"
