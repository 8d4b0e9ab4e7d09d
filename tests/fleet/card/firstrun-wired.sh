#!/bin/sh
# Written by `gridberry prepare`. Runs once, as root, and removes itself.
set +e
if [ -f /usr/lib/raspberrypi-sys-mods/imager_custom ]; then
    /usr/lib/raspberrypi-sys-mods/imager_custom set_hostname pi1
else
    CURRENT_HOSTNAME=$(tr -d ' \t\n\r' </etc/hostname)
    echo pi1 >/etc/hostname
    sed -i "s/127.0.1.1.*$CURRENT_HOSTNAME/127.0.1.1\tpi1/g" /etc/hosts
fi
FIRSTUSER=$(getent passwd 1000 | cut -d: -f1)
FIRSTUSERHOME=$(getent passwd 1000 | cut -d: -f6)
if [ -f /usr/lib/raspberrypi-sys-mods/imager_custom ]; then
    /usr/lib/raspberrypi-sys-mods/imager_custom enable_ssh -k 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== it'"'"'s me'
else
    install -o "$FIRSTUSER" -g "$FIRSTUSER" -m 700 -d "$FIRSTUSERHOME/.ssh"
    printf '%s\n' 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== it'"'"'s me' >"$FIRSTUSERHOME/.ssh/authorized_keys"
    chown "$FIRSTUSER:$FIRSTUSER" "$FIRSTUSERHOME/.ssh/authorized_keys"
    chmod 600 "$FIRSTUSERHOME/.ssh/authorized_keys"
    echo 'PasswordAuthentication no' >>/etc/ssh/sshd_config
    systemctl enable ssh
fi
if [ -f /usr/lib/userconf-pi/userconf ]; then
    /usr/lib/userconf-pi/userconf trader ''
else
    if [ "$FIRSTUSER" != trader ]; then
        usermod -l trader "$FIRSTUSER"
        usermod -m -d /home/trader trader
        groupmod -n trader "$FIRSTUSER"
    fi
fi
echo 'trader ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/010_trader-nopasswd
chmod 0440 /etc/sudoers.d/010_trader-nopasswd
rm -f /boot/firstrun.sh
sed -i 's| systemd.run.*||g' /boot/cmdline.txt
exit 0
