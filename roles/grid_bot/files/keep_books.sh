# Copies the books of the bot that runs, before a release replaces it: what a rollout puts back where the new
# bot wrote wrong ones. PROJECT and RELEASE, its number, must be set before.
#
# The newest copy stays. One of this release is from before an interruption: the bot may be the new one since.
docker exec "$PROJECT-bot" sh -c "
    cd /var/lib/gridbot || exit
    [ -e before-release-$RELEASE ] && exit
    rm -f before-release-*
    gridbot backup --state . before-release-$RELEASE"
