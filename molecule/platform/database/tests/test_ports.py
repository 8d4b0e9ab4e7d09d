"""What listens on the Pi, and what of it answers from outside."""

import ssl
import urllib.error
import urllib.request

# What the settings say, and nothing else.
LOOPBACK = {
    "5432": "the database", "8426": "vmauth's own pages", "8428": "the store",
    "8429": "vmagent", "8880": "vmalert", "9093": "Alertmanager", "9100": "node exporter",
}  # fmt: skip
OPEN = {"22": "SSH", "8080": "the bot's page", "8090": "the hub", "8427": "vmauth"}
HOST = {"53", "5355"}


def listening(pi):
    """Ports, and the addresses on which each listens; containerd's is another at each start."""
    found: dict[str, set[str]] = {}
    for line in pi.check_output("ss -Hltnp").splitlines():
        if "containerd" in line:
            continue
        address, _, port = line.split()[3].rpartition(":")
        found.setdefault(port, set()).add(address.partition("%")[0])
    return found


def test_only_what_the_settings_say_listens(pi):
    found = listening(pi)
    assert set(found) - HOST == set(LOOPBACK) | set(OPEN)
    for port in LOOPBACK:
        assert found[port] <= {"127.0.0.1", "[::1]"}, port


def answers(machine, port, protocol="http"):
    """Whether the port answers from outside, whatever it says."""
    url = f"{protocol}://127.0.0.1:{machine.forwards[port]}/"
    anyone = ssl._create_unverified_context()  # noqa: S323 - it is only asked whether it is there
    try:
        urllib.request.urlopen(url, timeout=20, context=anyone)  # noqa: S310 - one of ours
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def test_the_firewall_lets_in_hub_and_vmauth_alone(machine):
    assert answers(machine, 8090)
    assert answers(machine, 8427, "https")
    for port in (5432, 9093):
        assert not answers(machine, port), port
