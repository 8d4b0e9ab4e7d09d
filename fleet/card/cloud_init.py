"""The files that cloud-init reads on the first boot: Raspberry Pi OS from trixie on.

They say what Raspberry Pi Imager 2 says, with these differences: a static address is possible;
avahi is installed only where it is missing, so that a first boot without the internet is quick; and
the files that hold a secret are removed once the system has it. The key `rpi`, of Raspberry Pi's
own module, sets up I2C, SPI, serial and USB; a bot needs none, so it is not used.
"""

from __future__ import annotations

import hashlib
from typing import Any

import yaml

from fleet.card.settings import FirstBoot

USER_DATA, META_DATA, NETWORK = "user-data", "meta-data", "network-config"
BOOT = "/boot/firmware"
AVAHI = (
    "command -v avahi-daemon >/dev/null ||"
    " { apt-get update && apt-get install --yes avahi-daemon; }"
)


def files(settings: FirstBoot, original_suffix: str) -> dict[str, str]:
    """Return the files by name.

    Args:
        settings: What the Pi is told.
        original_suffix: What ends the names of kept files; the first boot removes those as well.
    """
    contents = {
        USER_DATA: "#cloud-config\n" + _yaml(user_data(settings, original_suffix)),
        NETWORK: _yaml({"network": network(settings)}),
    }
    identity = instance(contents)
    return {META_DATA: _yaml({"instance-id": identity}), **contents}


def instance(contents: dict[str, str]) -> str:
    """Return the name of what the files make: others make another one, which is set up anew.

    Args:
        contents: The files by name.
    """
    return "gridberry-" + hashlib.sha256("".join(contents.values()).encode()).hexdigest()[:16]


def kernel_words(contents: dict[str, str]) -> list[str]:
    """Return what cmdline.txt says besides: cloud-init then knows the instance without the files.

    Args:
        contents: All files by name.
    """
    return [f"ds=nocloud;i={yaml.safe_load(contents[META_DATA])['instance-id']}"]


def user_data(settings: FirstBoot, original_suffix: str) -> dict[str, Any]:
    """Return what user-data holds.

    Args:
        settings: What the Pi is told.
        original_suffix: What ends the names of kept files.
    """
    # `user`, not `users`: it is the distribution's own user with another name, in all its groups.
    user: dict[str, Any] = {"name": settings.user, "shell": "/bin/bash"}
    password = {"lock_passwd": False, "passwd": settings.password_hash}
    user |= password if settings.password_hash else {"lock_passwd": True}
    user["ssh_authorized_keys"] = list(settings.keys)
    # None, not left out: the distribution's user has a rule without a password.
    user["sudo"] = None if settings.password_hash else "ALL=(ALL) NOPASSWD:ALL"
    secret = [NETWORK] * bool(settings.wifi) + [USER_DATA] * bool(settings.password_hash)
    # The kept ones are of whoever prepared the card before, perhaps with another secret.
    kept = [name + original_suffix for name in (NETWORK, USER_DATA)]
    remove = ["rm", "-f", *(f"{BOOT}/{name}" for name in (*secret, *kept))]
    return {
        "hostname": settings.host,
        "manage_etc_hosts": True,
        "manage_resolv_conf": False,
        "user": user,
        "ssh_pwauth": False,
        "runcmd": [["systemctl", "enable", "--now", "ssh"], ["sh", "-c", AVAHI], remove],
    }


def network(settings: FirstBoot) -> dict[str, Any]:
    """Return what network-config holds, as netplan reads it.

    Args:
        settings: What the Pi is told.
    """
    dhcp: dict[str, Any] = {"dhcp4": True, "dhcp6": True, "optional": True}
    devices = {"eth0": dict(dhcp)} | ({"wlan0": dict(dhcp)} if settings.wifi else {})
    if static := settings.address:
        devices[settings.device] |= {
            "dhcp4": False,
            "addresses": [str(static.interface)],
            "routes": [{"to": "default", "via": str(static.gateway)}],
            "nameservers": {"addresses": [str(static.gateway)]},
        }
    found: dict[str, Any] = {"version": 2, "ethernets": {"eth0": devices["eth0"]}}
    if wifi := settings.wifi:
        found["wifis"] = {
            "wlan0": devices["wlan0"]
            | {
                "regulatory-domain": wifi.country,
                "access-points": {wifi.ssid: {"password": wifi.psk}},
            }
        }
    return found


def _yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, width=1000)
