# Builds an image on the machine whose Docker is asked.
#
#   sh -s BUNDLE DIRECTORY IMAGE ARCH [TARGET]
#
# BUNDLE     tar.gz of context/, wheels/ and, where no registry is reachable, base-ARCH.tar
# DIRECTORY  where it is unpacked; removed at the end
# IMAGE      name of the result
# ARCH       processor of the result, as Docker names it
# TARGET     the Dockerfile's stage; empty: its last
set -eu
bundle=$1 directory=$2 image=$3 arch=$4 target=${5:-}

trap 'rm -rf "$directory"' EXIT
rm -rf "$directory"
mkdir -p "$directory"
tar -xzf "$bundle" -C "$directory"
cd "$directory"

# The base under the hash of its content: equal bases share the layers of earlier builds.
import_base() {
    name=gridberry-base:$(sha256sum <"base-$1.tar" | cut -c 1-16)-$1
    docker image inspect "$name" >/dev/null 2>&1 ||
        docker import --platform "linux/$1" "base-$1.tar" "$name" >/dev/null
    echo "$name"
}

set -- --build-context wheels=wheels
[ -z "$target" ] || set -- "$@" --target "$target"
if [ -f "base-$arch.tar" ]; then
    base=$(import_base "$arch")
    set -- "$@" --build-arg "BASE_IMAGE=$base"
    own=$(docker version --format '{{.Server.Arch}}')
    if [ "$own" != "$arch" ]; then
        builder=$(import_base "$own")
        set -- "$@" --build-arg "BUILDER_IMAGE=$builder"
    fi
fi
docker buildx build --platform "linux/$arch" --provenance=false --progress plain --load \
    --tag "$image" "$@" context
