# shellcheck shell=sh
# Sourced by the scripts that run programs inside the image, in a mount namespace of their own.
#
# cover ROOT NATIVE PROGRAM...: the ARM64 PROGRAMs of the image (paths below /usr) are covered by
# their twins for this machine's processor, from a tree of the same release. Most maintainer scripts
# are shell and Perl, which then run at full speed. The mounts end with the namespace.
cover() {
    root=$1
    native=$2
    shift 2
    mkdir -p "$root/lib64" "$root/usr/lib/x86_64-linux-gnu"
    mount --bind "$native/usr/lib/x86_64-linux-gnu" "$root/usr/lib/x86_64-linux-gnu"
    mount --bind "$native/usr/lib64" "$root/lib64"
    for program in "$@"; do
        mount --bind "$native/usr/$program" "$root/usr/$program"
    done
}

# uncover ROOT: takes the mount points away that Debian's ARM64 packages do not have.
uncover() {
    umount "$1/usr/lib/x86_64-linux-gnu" "$1/lib64"
    rmdir "$1/usr/lib/x86_64-linux-gnu" "$1/lib64"
}

# twins ROOT NATIVE: the ELF programs that both trees have. Not dpkg's and apt's, which have their
# architecture built in, and not ldconfig, which must see the ARM64 libraries.
twins() {
    for file in "$2"/usr/bin/* "$2"/usr/sbin/*; do
        name=${file#"$2/usr/"}
        case ${name##*/} in dpkg | dpkg-query | dpkg-trigger | apt* | ldconfig*) continue ;; esac
        if [ -f "$file" ] && [ ! -L "$file" ] && [ -f "$1/usr/$name" ] && [ ! -L "$1/usr/$name" ] &&
            [ "$(head -c 4 "$file" | tr -d '\177')" = ELF ]; then
            echo "$name"
        fi
    done
}
