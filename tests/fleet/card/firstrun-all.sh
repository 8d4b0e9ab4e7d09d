#!/bin/sh
# Written by `gridberry prepare`. Runs once, as root, and removes itself.
set +e
if [ -f /usr/lib/raspberrypi-sys-mods/imager_custom ]; then
    /usr/lib/raspberrypi-sys-mods/imager_custom set_hostname pi2
else
    CURRENT_HOSTNAME=$(tr -d ' \t\n\r' </etc/hostname)
    echo pi2 >/etc/hostname
    sed -i "s/127.0.1.1.*$CURRENT_HOSTNAME/127.0.1.1\tpi2/g" /etc/hosts
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
    /usr/lib/userconf-pi/userconf trader '$6$saltsalt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
else
    printf '%s:%s\n' "$FIRSTUSER" '$6$saltsalt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' | chpasswd -e
    if [ "$FIRSTUSER" != trader ]; then
        usermod -l trader "$FIRSTUSER"
        usermod -m -d /home/trader trader
        groupmod -n trader "$FIRSTUSER"
    fi
fi
rm -f /etc/sudoers.d/010_pi-nopasswd /etc/sudoers.d/010_trader-nopasswd
if [ -f /usr/lib/raspberrypi-sys-mods/imager_custom ]; then
    /usr/lib/raspberrypi-sys-mods/imager_custom set_wlan 'The Café'"'"'s' 1a17c34f20adff5169f5a96a194bedf3c8222862cf3c69919a5be75d079975ab DE
else
    rfkill unblock wifi
    iw reg set DE
    cat >/etc/NetworkManager/system-connections/preconfigured.nmconnection <<'END'
[connection]
id=preconfigured
type=wifi
[wifi]
mode=infrastructure
ssid=The Café's
[ipv4]
method=auto
[ipv6]
method=auto
[wifi-security]
key-mgmt=wpa-psk
psk=1a17c34f20adff5169f5a96a194bedf3c8222862cf3c69919a5be75d079975ab
END
    chmod 600 /etc/NetworkManager/system-connections/preconfigured.nmconnection
fi
sed -i '/^\[ipv4]/,/^\[ipv6]/s|^method=auto$|method=manual\naddress1=192.168.1.21/24,192.168.1.1\ndns=192.168.1.1;|' /etc/NetworkManager/system-connections/preconfigured.nmconnection
rm -f /boot/firstrun.sh
sed -i 's| systemd.run.*||g' /boot/cmdline.txt
exit 0
