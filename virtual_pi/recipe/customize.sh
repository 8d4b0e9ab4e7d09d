#!/bin/sh
# Turns the configured Debian into a Pi's system. $1: the image's root; $2: this machine's own
# programs of the same release, or empty. FILES: the tree of configuration files to lay over it.
# Must run in a mount namespace of its own.
set -eu
root=$1
native=$2
here=$(dirname "$0")
# shellcheck source=virtual_pi/recipe/cover.sh
. "$here/cover.sh"

cp -R --no-target-directory "$FILES" "$root"
chmod 0440 "$root/etc/sudoers.d/010_trader-nopasswd"

chroot "$root" useradd --create-home --shell /bin/bash --groups adm,sudo,video,systemd-journal trader
chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved ssh
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
# Housekeeping that would burn the emulated processor behind a test's back.
chroot "$root" systemctl --quiet mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer
# Neither needed nor on a headless Pi's way to SSH; each costs a second or more when emulated.
chroot "$root" systemctl --quiet mask \
    modprobe@drm.service systemd-pstore.service getty@tty1.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount dev-hugepages.mount \
    sys-fs-fuse-connections.mount modprobe@fuse.service \
    sys-kernel-config.mount modprobe@configfs.service \
    systemd-network-generator.service systemd-udev-load-credentials.service
mkdir -p "$root/etc/systemd/system-generators"
for generator in gpt-auto hibernate-resume ssh tpm2; do
    ln -s /dev/null "$root/etc/systemd/system-generators/systemd-$generator-generator"
done
chroot "$root" systemctl --quiet set-default multi-user.target

# Every machine makes its own identity at its first boot.
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/hostname" "$root/etc/hosts"
rm -f "$root"/etc/ssh/ssh_host_*

# apt's index for ARM64 now, so that the first apt command in a guest need not build it.
chroot "$root" apt-cache gencaches

# The initramfs carries programs of the image, so only tools that it does not carry are covered.
kernel=$(basename "$root"/usr/lib/modules/*)
if [ -n "$native" ]; then
    set --
    for program in bash dash cat chmod cp cpio find grep head ln ls mkdir mktemp mv readlink rm \
        rmdir sed sort stat touch tr uniq wc xargs zstd cmp cut basename dirname env expr tee; do
        if [ -f "$native/usr/bin/$program" ] && [ -f "$root/usr/bin/$program" ]; then
            set -- "$@" "bin/$program"
        fi
    done
    if [ -f "$native/usr/lib/dracut/dracut-install" ]; then # since trixie
        set -- "$@" lib/dracut/dracut-install
    fi
    cover "$root" "$native" "$@"
fi
chroot "$root" update-initramfs -c -k "$kernel"
if [ -n "$native" ]; then uncover "$root"; fi
cp "$root/boot/vmlinuz-$kernel" "$root/boot/firmware/kernel8.img"

# systemd would rebuild its caches at a machine's first boot if /usr looked newer than these.
touch "$root/etc/.updated" "$root/var/.updated"
