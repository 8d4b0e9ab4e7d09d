"""firstrun.sh and its words in cmdline.txt: Raspberry Pi OS bookworm.

As Raspberry Pi Imager writes them, down to the paths in /boot and the last three lines: an
initramfs script of bookworm rewrites those paths, and cuts the file off where it removes itself.
"""

from __future__ import annotations

import shlex

from fleet.card.settings import Address, FirstBoot, Wifi

FIRST_RUN = "firstrun.sh"
KERNEL_WORDS = [
    "systemd.run=/boot/firstrun.sh",
    "systemd.run_success_action=reboot",
    "systemd.unit=kernel-command-line.target",
]
IMAGER = "/usr/lib/raspberrypi-sys-mods/imager_custom"
USERCONF = "/usr/lib/userconf-pi/userconf"
CONNECTIONS = "/etc/NetworkManager/system-connections"
# The name that imager_custom gives to a wireless network's.
PRECONFIGURED = "preconfigured"
BEGIN = """\
#!/bin/sh
# Written by `gridberry prepare`. Runs once, as root, and removes itself.
set +e"""
FIRST_USER = """\
FIRSTUSER=$(getent passwd 1000 | cut -d: -f1)
FIRSTUSERHOME=$(getent passwd 1000 | cut -d: -f6)"""
END = """\
rm -f /boot/firstrun.sh
sed -i 's| systemd.run.*||g' /boot/cmdline.txt
exit 0"""


def files(settings: FirstBoot) -> dict[str, str]:
    """Return the files by name.

    Args:
        settings: What the Pi is told.
    """
    parts = [
        BEGIN,
        _host(settings.host),
        FIRST_USER,
        _keys(settings.keys),
        _user(settings),
        *([_wifi(settings.wifi)] if settings.wifi else []),
        *([_address(settings.address, settings.wifi)] if settings.address else []),
        END,
    ]
    return {FIRST_RUN: "\n".join(parts) + "\n"}


def _either(program: str, does: str, *otherwise: str) -> str:
    """Return shell text that calls a program of Raspberry Pi OS, or does the same without it."""
    without = "".join(f"    {line}\n" for line in otherwise)
    return f"if [ -f {program} ]; then\n    {program} {does}\nelse\n{without}fi"


def _host(name: str) -> str:
    return _either(
        IMAGER,
        f"set_hostname {name}",
        "CURRENT_HOSTNAME=$(tr -d ' \\t\\n\\r' </etc/hostname)",
        f"echo {name} >/etc/hostname",
        f'sed -i "s/127.0.1.1.*$CURRENT_HOSTNAME/127.0.1.1\\t{name}/g" /etc/hosts',
    )


def _keys(keys: tuple[str, ...]) -> str:
    words = " ".join(map(shlex.quote, keys))
    return _either(
        IMAGER,
        f"enable_ssh -k {words}",
        'install -o "$FIRSTUSER" -g "$FIRSTUSER" -m 700 -d "$FIRSTUSERHOME/.ssh"',
        f"printf '%s\\n' {words} >\"$FIRSTUSERHOME/.ssh/authorized_keys\"",
        'chown "$FIRSTUSER:$FIRSTUSER" "$FIRSTUSERHOME/.ssh/authorized_keys"',
        'chmod 600 "$FIRSTUSERHOME/.ssh/authorized_keys"',
        "echo 'PasswordAuthentication no' >>/etc/ssh/sshd_config",
        "systemctl enable ssh",
    )


def _user(settings: FirstBoot) -> str:
    name, password = settings.user, settings.password_hash
    set_password = [f"printf '%s:%s\\n' \"$FIRSTUSER\" '{password}' | chpasswd -e"]
    text = _either(
        USERCONF,
        f"{name} '{password}'",
        *(set_password if password else []),
        f'if [ "$FIRSTUSER" != {name} ]; then',
        f'    usermod -l {name} "$FIRSTUSER"',
        f"    usermod -m -d /home/{name} {name}",
        f'    groupmod -n {name} "$FIRSTUSER"',
        "fi",
    )
    rule = f"/etc/sudoers.d/010_{name}-nopasswd"
    if password:
        # An image of bookworm may let its first user in without asking.
        return f"{text}\nrm -f /etc/sudoers.d/010_pi-nopasswd {rule}"
    return f"{text}\necho '{name} ALL=(ALL) NOPASSWD:ALL' >{rule}\nchmod 0440 {rule}"


def _wifi(wifi: Wifi) -> str:
    ssid = shlex.quote(wifi.ssid)
    return _either(
        IMAGER,
        f"set_wlan {ssid} {wifi.psk} {wifi.country}",
        "rfkill unblock wifi",
        f"iw reg set {wifi.country}",
        _connection(PRECONFIGURED, "wifi", f"[wifi]\nmode=infrastructure\nssid={wifi.ssid}")
        + f"\n[wifi-security]\nkey-mgmt=wpa-psk\npsk={wifi.psk}\nEND",
        f"chmod 600 {CONNECTIONS}/{PRECONFIGURED}.nmconnection",
    )


def _address(static: Address, wifi: Wifi | None) -> str:
    manual = f"method=manual\\naddress1={static.interface},{static.gateway}\\ndns={static.gateway};"
    name = PRECONFIGURED if wifi else "gridberry"
    path = f"{CONNECTIONS}/{name}.nmconnection"
    change = f"sed -i '/^\\[ipv4]/,/^\\[ipv6]/s|^method=auto$|{manual}|' {path}"
    if wifi:
        return change
    wired = _connection(name, "ethernet", "interface-name=eth0") + "\nEND"
    return f"{wired}\nchmod 600 {path}\n{change}"


def _connection(name: str, kind: str, lines: str) -> str:
    """Return the begin of a here-document that writes a connection of NetworkManager."""
    return (
        f"cat >{CONNECTIONS}/{name}.nmconnection <<'END'\n"
        f"[connection]\nid={name}\ntype={kind}\n{lines}\n"
        "[ipv4]\nmethod=auto\n[ipv6]\nmethod=auto"
    )
