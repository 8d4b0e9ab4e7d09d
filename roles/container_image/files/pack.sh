# Packs what an image is built from into one file; build.sh unpacks it.
#
#   PACK_FILES=... sh -s BUNDLE CONTEXT WHEELS [BASE.tar...]
#
# PACK_FILES  the context's files, one a line
# BUNDLE      appears only when it is complete
set -eu
bundle=$1 context=$2 wheels=$3
shift 3
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/context" "$(dirname "$bundle")"
printf '%s\n' "$PACK_FILES" >"$stage/files"
tar -C "$context" --files-from "$stage/files" -cf - | tar -C "$stage/context" -xf -
rm "$stage/files"
ln -s "$wheels" "$stage/wheels"
for base in "$@"; do
    ln -s "$base" "$stage/"
done
tar -C "$stage" -chf - . | gzip -3 >"$bundle.new"
mv "$bundle.new" "$bundle"
