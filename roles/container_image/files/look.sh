# Tells a host's processor and which images of these NAMES it has. Reads only.
echo "arch $(dpkg --print-architecture)"
for name in $NAMES; do
    docker image ls --no-trunc --format 'image {{.Repository}}:{{.Tag}} {{.ID}}' "$name" 2>/dev/null
done
true
