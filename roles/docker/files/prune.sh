#!/bin/sh
# Removes images that nobody uses and build cache that nobody needs, once they are old enough. Put in
# place by Ansible (role docker); run by gridberry-docker-prune.timer.
#
#   prune.sh DAYS KEEP [NOTED]
#
# DAYS  how long something must have been on this host (image) or unused (build cache)
# KEEP  how many of the bot's images stay besides those in use, the newest first: the one to go back to
#
# NOTED a directory with files of IDs, a line each: images of releases that a host can go back to stay, too
#
# Containers and volumes are never touched, and an image that a container has, running or not, stays.
set -u
days=$1 keep=$2 noted=${3:-/var/lib/gridberry/kept-images}
limit=$(($(date +%s) - days * 86400))
status=0

# Where Docker does not say what is used, nothing is removed.
containers=$(docker container ls --all --quiet) || exit
# shellcheck disable=SC2086 # words
used=$([ -z "$containers" ] || docker container inspect --format '{{.Image}}' $containers) || exit
used="$used
$(cat "$noted"/* 2>/dev/null)"
ids=$(docker image ls --quiet --no-trunc) || exit

# A line for each image: seconds of its age's beginning, ID, names. It was built some time, and came to
# this host (or got its name) later: an image that was just loaded may be old.
images=$(for id in $(echo "$ids" | sort -u); do
    docker image inspect --format \
        '{{.Created}} {{json .Metadata.LastTagTime}} {{.Id}}{{range .RepoTags}} {{.}}{{end}}' "$id" ||
        continue
done | while read -r created tagged id names; do
    begin=$(date -d "$created" +%s 2>/dev/null || echo 0)
    tagged=$(date -d "$(echo "$tagged" | tr -d '"')" +%s 2>/dev/null || echo 0)
    [ "$tagged" -le "$begin" ] || begin=$tagged
    echo "$begin $id $names"
done | sort -rn)

kept=0
while read -r begin id names; do
    [ -n "$begin" ] || continue
    case "
$used
" in *"
$id
"*) continue ;; esac
    case " $names" in
        *" gridbot:"*)
            if [ "$kept" -lt "$keep" ]; then
                kept=$((kept + 1))
                continue
            fi
            ;;
    esac
    [ "$begin" -lt "$limit" ] || continue
    echo "removing image ${names:-$id}"
    # By name, as an image with several names is not removed by its ID; without force.
    # shellcheck disable=SC2086 # words
    docker image rm ${names:-$id} >/dev/null || status=1
done <<EOT
$images
EOT

docker builder prune --all --force --filter "until=$((days * 24))h" || status=1
exit "$status"
