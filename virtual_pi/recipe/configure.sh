#!/bin/sh
# Configures the unpacked packages in the image. $1: the image's root; $2: a tree with this
# machine's own programs of the same release, or empty where the image's programs run natively.
# Must run in a mount namespace of its own.
set -eu
root=$1
native=$2
here=$(dirname "$0")
# shellcheck source=virtual_pi/recipe/cover.sh
. "$here/cover.sh"

# No service starts while the image is built, and the initramfs is built once, by customize.sh.
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"
if [ -e "$root/usr/sbin/update-initramfs" ]; then
    printf '#!/bin/sh\nexit 0\n' > "$root/skip"
    chmod 0755 "$root/skip"
    mount --bind "$root/skip" "$root/usr/sbin/update-initramfs"
fi
if [ -e "$root/var/lib/dpkg/info/usr-is-merged.postinst" ]; then
    # It removes a /lib64 that no package owns: before the one of this machine's programs is there.
    chroot "$root" dpkg --configure --force-unsafe-io usr-is-merged
fi
if [ -n "$native" ]; then
    # shellcheck disable=SC2046 # program names hold no spaces
    cover "$root" "$native" $(twins "$root" "$native")
fi

chroot "$root" dpkg --configure -a --force-unsafe-io --force-confnew

if [ -n "$native" ]; then uncover "$root"; fi
if [ -e "$root/skip" ]; then
    umount "$root/usr/sbin/update-initramfs"
    rm "$root/skip"
fi
rm "$root/usr/sbin/policy-rc.d"
