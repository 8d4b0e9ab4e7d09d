# Makes a file system. Everything that would forbid it is looked at once more: the plan is older than
# this moment.
#
#   DEVICE SERIAL IDENTITY FORCE (yes: what the drive holds may go) LABEL UUID NOTE are set before.
set -eu
refuse() {
    echo "$DEVICE: $*; not formatted" >&2
    exit 1
}
[ "$(lsblk -dnro TYPE "$DEVICE")" = disk ] || refuse "is no disk"
[ "$(lsblk -dno SERIAL "$DEVICE" | tr -d ' ')" = "$SERIAL" ] || refuse "has another serial number than $SERIAL"
[ -z "$(lsblk -nro MOUNTPOINTS "$DEVICE" | tr -d ' \n')" ] || refuse "is in use"
! lsblk -nro TYPE "$DEVICE" | grep -qvxE 'disk|part' || refuse "is part of a volume or array"
noted=$(cat "$NOTE" 2>/dev/null || true)
# What was being made when it was broken off may be made again; what somebody else made since may not.
again() {
    [ -n "$SERIAL" ] && [ "$noted" = "$IDENTITY $UUID" ] &&
        [ "$(blkid -p -s UUID -o value "$DEVICE")" = "$UUID" ]
}
if [ "$FORCE" != yes ] && ! again; then
    [ -z "$(wipefs -n --noheadings "$DEVICE")" ] || refuse "holds something"
    status=0
    blkid -p "$DEVICE" >/dev/null || status=$?
    [ "$status" -eq 2 ] || refuse "holds something"
fi
# From here to the end the drive may be cut off at any moment: the next run sees the note and begins
# again, if there is nothing else on the drive than half of the file system with this UUID.
mkdir -p "${NOTE%/*}"
echo "$IDENTITY $UUID" >"$NOTE.new"
sync "$NOTE.new"
mv "$NOTE.new" "$NOTE"
sync "${NOTE%/*}"
parts=$(lsblk -nro PATH,TYPE "$DEVICE" | sed -n 's/ part$//p')
for part in $parts; do wipefs -q -a "$part"; done
wipefs -q -a "$DEVICE"
if [ -n "$parts" ]; then blockdev --rereadpt "$DEVICE"; fi
mkfs.ext4 -q -F -m 1 -L "$LABEL" -U "$UUID" "$DEVICE" >&2
sync "$DEVICE"
blockdev --flushbufs "$DEVICE"
[ "$(blkid -p -s UUID -o value "$DEVICE")" = "$UUID" ] || refuse "does not give back what was written"
udevadm trigger --action=change "$DEVICE"
udevadm settle --timeout=20
rm "$NOTE"
sync "${NOTE%/*}"
