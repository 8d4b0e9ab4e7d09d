# Tells a host's processor and which images of the bot it has. Reads only.
echo "arch $(dpkg --print-architecture)"
docker image ls --no-trunc --format 'image {{.Repository}}:{{.Tag}} {{.ID}}' gridbot 2>/dev/null
true
