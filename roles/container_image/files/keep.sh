# Saves an image into a file that a controller can keep, and tells the image's IDs.
#
#   sh -s IMAGE FILE
#
# Prints two IDs on one line: that of this Docker, and that of one that stores images the other way.
set -eu
image=$1 file=$2
mkdir -p "$(dirname "$file")"
# zstd is five times as quick, which is a minute on an emulated Pi; docker load reads both.
compress='gzip -1'
! command -v zstd >/dev/null || compress='zstd -q -1'
docker image save "$image" | $compress >"$file.new"
id=$(docker image inspect --format '{{.Id}}' "$image")
other=$id
if docker info --format '{{.DriverStatus}}' | grep -q io.containerd; then
    # This Docker's ID is that of the manifest; the other kind takes that of the configuration.
    other=$(tar -xOf "$file.new" manifest.json | sed -n 's/.*"Config":"\([^"]*\)".*/\1/p')
    other=sha256:${other##*/}
fi
chmod 0644 "$file.new"
mv "$file.new" "$file"
echo "$id $other"
