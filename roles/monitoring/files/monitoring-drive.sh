#!/bin/sh
# What a program of monitoring stores is on the drive, where the host has one. An effect of role monitoring,
# which sets: there|move|left|leave UNIT DRIVE
#
# `there` and `left` only read; status 0 says that nothing is to do. `move` copies what is on the card to the drive, and
# mounts it in its place. `leave` mounts it no longer.
# The mount's unit says who has it: where that file is, the drive, and before, the card. So whatever cuts this off
# leaves one of them whole, and it goes on from there. With the drive gone VictoriaMetrics does not start, instead of
# beginning anew on the card; vmagent does (monitoring-buffer.sh).
set -eu
umask 077
what=$1 unit=$2 drive=$3
here=/var/lib/private/$unit
there=$drive/monitoring/$unit
mount=var-lib-private-$(printf %s "$unit" | sed 's/-/\\x2d/g').mount
file=/etc/systemd/system/$mount

if [ "$what" = there ]; then
    if [ -e "$file" ]; then
        mountpoint -q "$here" || { echo "$here is not mounted; is its drive there?"; exit 1; }
    elif [ -n "$drive" ] && mountpoint -q "$drive"; then
        echo "it is on the card"
        exit 1
    fi
    exit 0
fi

if [ "$what" = left ]; then
    [ ! -e "$file" ] || exit 1
    exit 0
fi

if [ "$what" = leave ]; then
    systemctl stop "$mount"
    if mountpoint -q "$here"; then
        echo "$here is still mounted: something uses it"
        exit 1
    fi
    rm -f "$file"
    systemctl daemon-reload
    exit 0
fi

ended() {
    rm -rf "$there.new"
    [ -z "$active" ] || systemctl start "$unit.service"
}
active=$(systemctl is-active -q "$unit.service" && echo yes || true)
trap ended EXIT
[ -z "$active" ] || systemctl stop "$unit.service"

if [ ! -e "$file" ]; then
    mkdir -p "$drive/monitoring"
    rm -rf "$there.new"
    # The bots' data may be on the same drive: a gigabyte stays free.
    needs=$(du -sk "$here" 2>/dev/null | cut -f 1)
    free=$(df --output=avail -k "$drive" | tail -n 1)
    if [ "$free" -lt $((${needs:-0} + 1048576)) ]; then
        echo "$drive has $((free / 1024)) MB free; what is measured needs $((${needs:-0} / 1024)), and 1024 stay free"
        exit 1
    fi
    if [ -n "$(ls -A "$here" 2>/dev/null)" ]; then
        cp -a "$here" "$there.new"
        diff -r "$here" "$there.new"
        # From an earlier time on the drive, of which the card has the continuation: it stays beside it.
        [ ! -e "$there" ] || mv "$there" "$there.$(date +%s)"
        mv "$there.new" "$there"
    else
        mkdir -p "$there"
    fi
    sync
    {
        echo "# Written by Ansible (role monitoring)."
        printf '[Unit]\nDescription=What %s stores, on the drive\n' "$unit"
        printf '\n[Mount]\nWhat=%s\nWhere=%s\nType=none\nOptions=bind\n' "$there" "$here"
    } >"$file.new"
    chmod 0644 "$file.new"
    sync
    mv "$file.new" "$file"
    sync
    systemctl daemon-reload
    rm -rf "$here"
fi
mkdir -p "$here"
systemctl start "$mount"
