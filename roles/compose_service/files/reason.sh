# Tells why containers are not healthy: state, last answer of the health check, last log lines.
# PROJECT must be set before.
# The oldest first: others wait for it.
for container in $(docker ps --all --filter label=com.docker.compose.project="$PROJECT" --format '{{.Names}}' | tac); do
    state=$(docker inspect --format '{{.State.Status}}{{with .State.Health}}, {{.Status}}{{end}}, restarted {{.RestartCount}} times' \
        "$container" 2>/dev/null) || continue
    case "$state" in "running, healthy"*) continue ;; esac
    echo "$container is $state."
    docker inspect --format '{{with .State.Health}}{{range .Log}}{{println .Output}}{{end}}{{end}}' \
        "$container" | grep -v '^ *$' | tail -n 1 | sed 's/^/  health check: /'
    docker logs --tail 8 "$container" 2>&1 | sed 's/^/  log: /'
done
true
