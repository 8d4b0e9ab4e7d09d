# Tells which containers run in a Docker that an undo would remove: `runs NAME PROJECT`, the latter of
# those that compose made. Reads only. NOTES, what Gridberry installed, is for tests.
grep -qxE 'docker[.]io|docker-ce' "${NOTES:-/var/lib/gridberry/packages}" 2>/dev/null || exit 0
command -v docker >/dev/null || exit 0
docker ps --format 'runs {{.Names}} {{.Label "com.docker.compose.project"}}'
