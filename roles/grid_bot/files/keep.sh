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
! command -v zstd >/dev/null || compress='zstd -q -3'
docker image save "$image" | $compress >"$file.new"
configuration=$(tar -xOf "$file.new" manifest.json | sed -n 's/.*"Config":"\([^"]*\)".*/\1/p')
configuration=${configuration##*/}
mv "$file.new" "$file"
chmod 0644 "$file"
echo "$(docker image inspect --format '{{.Id}}' "$image") sha256:${configuration%.json}"
