#!/bin/sh
# Starts containers that Docker has given up. Put in place by Ansible (role docker); run by
# gridberry-docker-start.timer.
#
# Docker starts a container once at boot, and once after it has ended; where that fails (a port that is
# taken for a moment, a network that is not ready), it never tries again, whatever the restart policy
# (moby issue 39559). Such a container keeps the error, or the code 255 where Docker lost sight of it. One
# that a person has stopped has neither, and stays stopped.
#
# A power cut while Docker starts containers leaves parts of them in its books of the network: at the next
# boot it reserves their ports for what is not there ("port is already allocated"), or finds their names taken
# ("endpoint with name ... already exists"). It has cleared its books by then, and is right once it is started
# again: that is done at most once after a boot, and only where containers outlive it.
set -u
restarted=${RUN:-/run}/gridberry-docker-restarted
ids=$(docker container ls --all --quiet --no-trunc --filter status=created --filter status=exited) || exit
[ -n "$ids" ] || exit 0
# shellcheck disable=SC2086 # words
given_up=$(docker container inspect --format \
    '{{.HostConfig.RestartPolicy.Name}} {{.State.ExitCode}} {{.Name}} {{json .State.Error}}' $ids) || exit
status=0 stale=
while read -r policy code name error; do
    case $policy in always | unless-stopped) ;; *) continue ;; esac
    [ "$error" != '""' ] || [ "$code" -eq 255 ] || continue
    # 3 is an error's level, for the journal.
    printf '<3>%s did not start (code %s, %s), and Docker would leave it so: starting it again\n' \
        "${name#/}" "$code" "$error"
    said=$(docker container start "${name#/}" 2>&1) && continue
    status=1
    printf '<3>%s\n' "$said"
    case $said in *"port is already allocated"* | *"endpoint with name"*"already exists"*) stale=1 ;; esac
done <<EOT
$given_up
EOT
if [ -n "$stale" ] && [ ! -e "$restarted" ] &&
    [ "$(docker info --format '{{.LiveRestoreEnabled}}')" = true ]; then
    echo "<4>restarting Docker, whose books of the network had parts of containers that are gone"
    touch "$restarted" && systemctl restart --no-block docker.service && status=0
fi
exit "$status"
