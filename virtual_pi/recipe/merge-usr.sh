#!/bin/sh
# Makes /bin, /sbin and /lib links into /usr before the first package of a release is unpacked whose
# base-files does not bring them. $1: the image's root; $2: Debian's name of its architecture.
set -eu
root=$1
case $2 in
    amd64) names="bin sbin lib lib64" ;;
    *) names="bin sbin lib" ;;
esac
for name in $names; do
    mkdir -p "$root/usr/$name"
    ln -s "usr/$name" "$root/$name"
done
