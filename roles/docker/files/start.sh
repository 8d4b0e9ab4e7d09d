#!/bin/sh
# Starts containers that Docker has given up. Put in place by Ansible (role docker); run by
# gridberry-docker-start.timer.
#
# Docker starts a container once at boot, and once after it has ended; where that fails (a port that is
# taken for a moment, a network that is not ready), it never tries again, whatever the restart policy
# (moby issue 39559). Such a container keeps the error, or the code 255 where Docker lost sight of it. One
# that a person has stopped has neither, and stays stopped.
set -u
ids=$(docker container ls --all --quiet --no-trunc --filter status=created --filter status=exited) || exit
[ -n "$ids" ] || exit 0
# shellcheck disable=SC2086 # words
given_up=$(docker container inspect --format \
    '{{.HostConfig.RestartPolicy.Name}} {{.State.ExitCode}} {{.Name}} {{json .State.Error}}' $ids) || exit
status=0
while read -r policy code name error; do
    case $policy in always | unless-stopped) ;; *) continue ;; esac
    [ "$error" != '""' ] || [ "$code" -eq 255 ] || continue
    # 3 is an error's level, for the journal.
    printf '<3>%s did not start (code %s, %s), and Docker would leave it so: starting it again\n' \
        "${name#/}" "$code" "$error"
    docker container start "${name#/}" >/dev/null || status=1
done <<EOT
$given_up
EOT
exit "$status"
