# Tells a host's processor and which images of this NAME it has. Reads only.
echo "arch $(dpkg --print-architecture)"
docker image ls --no-trunc --format 'image {{.Repository}}:{{.Tag}} {{.ID}}' "$NAME" 2>/dev/null
true
