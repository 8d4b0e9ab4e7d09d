#!/bin/sh
# Unpacks a foreign-architecture Debian with the controller's own dpkg: mmdebstrap's extract hook.
#
# dpkg under emulation spends minutes decompressing. The controller's dpkg does the same work into
# the same database in seconds; only the packages' pre-installation scripts are emulated. What is
# left is "dpkg --configure", which configure.sh does.
#
# $1: the root file system. From the environment:
#   PACKAGES      apt's package names and patterns, separated by spaces
#   MERGED        a package that all of them need beside the essential ones; empty for none
#   ARCHIVES      directory that keeps the .deb files between builds
#   DPKG_CONFIG   dpkg options, one a line, comments allowed
#   CONFIGURE     path of configure.sh;  NATIVE  its second argument
#   CUSTOMIZE     path of a script to run last, with the root as its argument; empty for none
set -eu
root=$1
stage() { echo "STAGE $*"; }
apt() { APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --yes -qq "$@"; }
# Prints the .deb files' names of all that would be installed; an empty archive makes apt name all.
names() {
    apt -oDir::Cache::archives="$nothing" --print-uris install "$@" | awk '{ print $2 }'
}

export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Emulated programs close every possible descriptor one by one before they start another program.
# shellcheck disable=SC3045 # dash and bash both have it
ulimit -n 1024
nothing=$(mktemp -d)
mkdir -p "$nothing/partial" "$ARCHIVES/partial"
trap 'rm -rf "$nothing"' EXIT

stage download
set -f # the patterns are apt's, not the shell's
# shellcheck disable=SC2086 # a list of names
names $PACKAGES $MERGED > "$nothing/names"
# The kernel's pre-installation script already runs programs of the packages it depends on.
{ grep -v '^linux-image-' "$nothing/names"; grep '^linux-image-' "$nothing/names" || true; } \
    > "$nothing/all"
# shellcheck disable=SC2086 # a list of names
names '?essential' $MERGED > "$nothing/essential"
# apt refuses an archive that another build fetches into.
exec 9> "$ARCHIVES/turn"
flock 9
# shellcheck disable=SC2086 # a list of names
apt -oDir::Cache::archives="$ARCHIVES" --download-only install $PACKAGES $MERGED
exec 9>&-
set +f

stage unpack
mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
# shellcheck disable=SC2086 # a list of files
(cd "$(dirname "$0")" && cat $DPKG_CONFIG) > "$root/etc/dpkg/dpkg.cfg.d/excludes"
excludes=$(sed -n 's|^path-exclude=/|--exclude=./|p' "$root/etc/dpkg/dpkg.cfg.d/excludes")
options=$(sed -n 's/^path-/--path-/p' "$root/etc/dpkg/dpkg.cfg.d/excludes")
set -f # the patterns are tar's and dpkg's
# The pre-installation scripts need a shell and its tools in place.
while read -r name; do
    # shellcheck disable=SC2086 # a list of options
    dpkg-deb --fsys-tarfile "$ARCHIVES/$name" |
        tar -C "$root" -x --keep-directory-symlink $excludes
done < "$nothing/essential"
: > "$root/var/lib/dpkg/status"
# Every file of the list is there, so dependencies hold once all are unpacked, in whatever order.
# Never --force-all: it contains --force-script-chrootless, which runs the scripts on this machine.
# shellcheck disable=SC2086 # a list of options
(cd "$ARCHIVES" && xargs dpkg --root="$root" --force-depends --force-architecture \
    --force-unsafe-io --no-triggers $options --unpack) < "$nothing/all" > "$root.unpack.log" 2>&1 ||
    { tail -n 40 "$root.unpack.log"; echo "dpkg could not unpack the packages"; exit 1; }
set +f
# The controller's dpkg recorded the image's architecture as foreign; inside the image it is native.
rm -f "$root/var/lib/dpkg/arch"
rm -f "$root.unpack.log"

stage configure
unshare --mount --propagation private sh "$CONFIGURE" "$root" "$NATIVE"
if [ -n "$CUSTOMIZE" ]; then
    stage customize
    unshare --mount --propagation private sh "$CUSTOMIZE" "$root" "$NATIVE"
fi
stage finish
