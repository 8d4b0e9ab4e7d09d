# Downloads an image's Python packages for its processor, on a controller with any processor.
#
#   sh -s PYTHON ARCH DIRECTORY LOCK...
#
# Every package must have a hash in a LOCK. DIRECTORY appears only when it is complete.
set -eu
python=$1 arch=$2 directory=$3
shift 3
case "$arch" in
    arm64) machine=aarch64 ;;
    amd64) machine=x86_64 ;;
    *) echo "no wheels are published for $arch; use arm64 and amd64" >&2; exit 1 ;;
esac
for lock in "$@"; do
    set -- "$@" "--requirement=$lock"
    shift
done
mkdir -p "$(dirname "$directory")"
new=$(mktemp -d "$directory.XXXXXX")
trap 'rm -rf "$new"' EXIT
"$python" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
    --only-binary=:all: --implementation=cp --python-version=3.13 \
    --platform="manylinux_2_28_$machine" --platform="manylinux_2_27_$machine" \
    --platform="manylinux_2_24_$machine" --platform="manylinux_2_17_$machine" \
    --platform="manylinux2014_$machine" --dest "$new" "$@"
chmod 0755 "$new"
mv "$new" "$directory"
