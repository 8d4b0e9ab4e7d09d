#!/bin/sh
# Unpacks the packages of a lock file for the image's processor, on the build machine's own.
#
#   sh install-packages.sh LOCK
set -eu
case "$TARGETARCH" in
    arm64) machine=aarch64 ;;
    amd64) machine=x86_64 ;;
    *) echo "TARGETARCH is '$TARGETARCH'; gridbot is built for arm64 and amd64" >&2; exit 1 ;;
esac
# A slim Debian of a registry has no Python; one of Debian's packages has.
lacking=
command -v python3 >/dev/null || lacking=python3
if ls /wheels/pip-*.whl >/dev/null 2>&1; then
    pip="python3 $(ls /wheels/pip-*.whl)/pip"
    index="--no-index --find-links=/wheels"
else
    lacking="$lacking python3-pip"
    pip="python3 -m pip"
    index=""
fi
if [ -n "$lacking" ]; then
    apt-get update
    # shellcheck disable=SC2086 # one argument for each package
    apt-get install -y --no-install-recommends $lacking
fi
# shellcheck disable=SC2086 # one argument for each word
$pip install $index --require-hashes --no-deps --no-compile --no-cache-dir \
    --disable-pip-version-check --root-user-action=ignore \
    --only-binary=:all: --implementation=cp --python-version=3.13 \
    --platform="manylinux_2_28_$machine" --platform="manylinux_2_27_$machine" \
    --platform="manylinux_2_24_$machine" --platform="manylinux_2_17_$machine" \
    --platform="manylinux2014_$machine" \
    --target=/packages -r "$1"
