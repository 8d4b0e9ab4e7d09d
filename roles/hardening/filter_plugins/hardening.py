"""Ansible filters: what is hardened, in the words of sshd and nft, and what is wrong with it."""

from __future__ import annotations

import ipaddress
import re
import shlex

from ansible.errors import AnsibleFilterError

# In order of preference; a release offers those of them that it knows.
ALGORITHMS = {
    "kex": [
        "mlkem768x25519-sha256",
        "sntrup761x25519-sha512",
        "sntrup761x25519-sha512@openssh.com",
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "diffie-hellman-group18-sha512",
        "diffie-hellman-group16-sha512",
    ],
    # The first needs no AES instructions, which a Pi 4 lacks.
    "cipher": [
        "chacha20-poly1305@openssh.com",
        "aes256-gcm@openssh.com",
        "aes128-gcm@openssh.com",
        "aes256-ctr",
        "aes192-ctr",
        "aes128-ctr",
    ],
    "mac": [
        "hmac-sha2-512-etm@openssh.com",
        "hmac-sha2-256-etm@openssh.com",
        "umac-128-etm@openssh.com",
    ],
}
KEYWORDS = {"kex": "KexAlgorithms", "cipher": "Ciphers", "mac": "MACs"}
# sshd -T has its own word for it.
AS_TOLD = {("PermitRootLogin", "prohibit-password"): "without-password"}
GATEWAY_PORTS = (4001, 4002)  # of IB Gateway: live, paper
PATTERN = re.compile(r"[\w.@*?!:/-]+")
INTERFACE = re.compile(r"[\w.:-]{1,15}\*?")
MODULE = re.compile(r"[\w-]+")
PACKAGE = re.compile(r"[\w.+*^$|()\\\[\]-]+")
TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
UMASK = re.compile(r"0?[0-7]{3}")
LISTENER = re.compile(r'users:\(\("([^"]+)"')
# Served by the kernel's own neighbourhood, and opened by the role's own rules: DHCP's client.
DHCP_CLIENTS = {("udp", 68), ("udp", 546)}
MDNS = ("udp", 5353)
# systemd-resolved asks for neighbours' names there, and nobody has to ask it: quiet where closed.
LLMNR = {("tcp", 5355), ("udp", 5355)}
RESOLVER = "systemd-resolve"
# Beside mDNS's port it holds one for its own questions, another at each start: quiet where closed.
MDNS_RESPONDER = "avahi-daemon"
DHCP_SERVER = ("udp", 67)
DNS = ("udp", 53)
# Programs that answer those who open a tunnel. Not those that go out by themselves (tailscaled).
IPSEC = ("charon", "charon-systemd", "pluto")
VPN_SERVERS = ("openvpn", "ocserv", "tincd", "nebula", "wireguard-go", "boringtun-cli", *IPSEC)
IPSEC_TUNNELS = ("xfrm", "vti", "vti6")
# Tunnels without a program that listens, nor a port.
PORTLESS = ("ipip", "ip6tnl", "gre", "ip6gre", "sit")


def is_network(text: str) -> bool:
    """Tell whether text is a network or an address."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def network_problems(name: str, networks: list[str]) -> list[str]:
    """Return a line for each element that is no network."""
    return [
        f"{name} has {text!r}; use a network such as 192.168.1.0/24"
        for text in networks
        if not is_network(text)
    ]


def pattern_problems(name: str, values: list[str], pattern: re.Pattern, such_as: str) -> list[str]:
    """Return a line for each element that does not match a pattern."""
    return [
        f"{name} has {value!r}; use {such_as}" for value in values if not pattern.fullmatch(value)
    ]


def between(settings: dict, name: str, lowest: int, highest: int) -> list[str]:
    """Return a line where a number is out of its bounds."""
    value = settings[name]
    if lowest <= value <= highest:
        return []
    return [f"hardening_{name} is {value}; use {lowest} to {highest}"]


def gateway_problems(where: str, entry: dict, settings: dict) -> list[str]:
    """Return a line where a port is IB Gateway's, and open to others than those it trusts.

    Whoever reaches that port trades: the Gateway asks for no password.

    Args:
        where: The entry's place.
        entry: Of the setting C(open_ports).
        settings: The role's settings without their prefix.
    """
    trusted, sources = settings.get("gateway_trusts"), set(entry.get("from") or [])
    if not isinstance(trusted, list) or int(entry["port"]) not in GATEWAY_PORTS:
        return []
    if sources and sources <= set(trusted):
        return []
    line = f"{where}: port is {entry['port']}, the API of IB Gateway, by which anybody can trade;"
    return [f"{line} leave it out, or open it to ib_gateway_trusted_addresses alone, by from"]


def setting_problems(settings: dict) -> list[str]:
    """Return a line for each setting that is not allowed, as far as can be told without the host.

    Args:
        settings: The role's settings without their prefix.
    """
    lines = []
    for name, such_as in (
        ("ssh_allow_users", "a name such as trader, or trader@192.168.1.*"),
        ("ssh_allow_groups", "a group such as sudo"),
    ):
        lines += pattern_problems(f"hardening_{name}", settings[name], PATTERN, such_as)
    lines += network_problems("hardening_ssh_from", settings["ssh_from"])
    for number, entry in enumerate(settings["open_ports"], 1):
        where = f"hardening_open_ports, entry {number}"
        if not 1 <= int(entry["port"]) <= 65535:
            lines.append(f"{where}: port is {entry['port']}; use 1 to 65535")
        lines += network_problems(f"{where}: from", entry.get("from") or [])
        lines += gateway_problems(where, entry, settings)
    lines += pattern_problems(
        "hardening_container_interfaces",
        settings["container_interfaces"],
        INTERFACE,
        "an interface such as docker0 or br-*",
    )
    lines += pattern_problems(
        "hardening_kernel_modules", settings["kernel_modules"], MODULE, "a module such as dccp"
    )
    lines += pattern_problems(
        "hardening_upgrades_held", settings["upgrades_held"], PACKAGE, "a package such as docker"
    )
    window = settings["reboot_window"]
    if window and not TIME.fullmatch(window):
        lines.append(f"hardening_reboot_window is {window!r}; use '04:00', or '' for never")
    if not UMASK.fullmatch(settings["umask"]):
        lines.append(f"hardening_umask is {settings['umask']!r}; use '027'")
    timeout = settings["shell_timeout_seconds"]
    if timeout and not 60 <= timeout <= 86400:
        lines.append(
            f"hardening_shell_timeout_seconds is {timeout}; use 60 to 86400, or 0 for never"
        )
    for name, lowest, highest in (
        ("rollback_seconds", 30, 3600),
        ("ssh_max_auth_tries", 1, 100),
        ("ssh_max_sessions", 1, 100),
        ("ssh_login_grace_time", 10, 600),
        ("ssh_client_alive_interval", 0, 86400),
        ("ping_per_second", 1, 1000),
    ):
        lines += between(settings, name, lowest, highest)
    return lines


def values(look: str, word: str) -> list[str]:
    """Return what the lines of look.sh say that begin with a word."""
    return [line[len(word) :].strip() for line in look.splitlines() if line.split(" ")[0] == word]


def facts(look: str) -> dict:
    """Return what look.sh found.

    Args:
        look: Its output: lines of a word and a value.
    """
    connection = (values(look, "connection") or [""])[0].split()
    way = [*(values(look, "way") or [""])[0].split(), "", "", ""]
    told = {int(port) for port in values(look, "port")}
    return {
        "user": (values(look, "user") or [""])[0],
        "from": connection[0] if len(connection) == 4 else "",
        "way": dict(zip(("device", "tunnel", "port"), way, strict=False)),
        "ports": sorted(told | ({int(connection[3])} if len(connection) == 4 else set())),
        "included": "yes" in values(look, "include"),
        "firewalls": values(look, "firewall"),
        "apparmor": bool(values(look, "apparmor")),
        "initramfs": bool(values(look, "initramfs")),
        "algorithms": {kind: (values(look, kind) or [""])[0].split(",") for kind in ALGORITHMS},
        "digests": dict(line.split(" ", 1)[::-1] for line in values(look, "digest")),
        "listeners": values(look, "listen"),
    }


def vpn_servers(found: dict) -> list[tuple[str, str, int]]:
    """Return what may have answered for the tunnel of the login: program, protocol and port.

    Args:
        found: What `facts` made of the host.
    """
    way = found["way"]
    programs = IPSEC if way["tunnel"] in IPSEC_TUNNELS else VPN_SERVERS
    servers = []
    for listener in found["listeners"]:
        proto, local = listener_words(listener)
        address, _, port = local.rpartition(":")
        if not is_outside(address) or not port.isdecimal():
            continue
        named = LISTENER.search(listener)
        if way["tunnel"] != "wireguard":
            if named and named[1] in programs:
                servers.append((named[1], proto, int(port)))
        # The kernel's own; where wg is installed it has told which.
        elif proto == "udp" and not named and way["port"] in ("", port):
            servers.append(("WireGuard", proto, int(port)))
    return list(dict.fromkeys(servers))


def tunnel_problems(found: dict, open_ports: list[dict]) -> list[str]:
    """Return a line where the login comes through a tunnel that the firewall would close.

    Its connection is known to the kernel until the next boot, so that a new login proves nothing.

    Args:
        found: What `facts` made of the host.
        open_ports: The setting C(open_ports).
    """
    way = found["way"]
    if not way["tunnel"] or way["device"].startswith("tailscale"):
        return []
    through = f"this connection comes through the tunnel {way['device']} ({way['tunnel']})"
    if way["tunnel"] in PORTLESS:
        line = (
            f"hardening_firewall is true and {through}, which has no port that hardening_open_ports"
            " could open; log in without it, or set hardening_firewall to false"
        )
        return [line]
    opened = {(entry.get("proto") or "tcp", int(entry["port"])) for entry in open_ports}
    servers = vpn_servers(found)
    closed = [server for server in servers if server[1:] not in opened]
    # IPsec begins at one port and goes on at the other; of others one is enough.
    whole = all(name in IPSEC for name, _, _ in servers)
    if not closed or (len(closed) < len(servers) and not whole):
        return []
    listed = ", ".join(f"{name} on {proto} port {port}" for name, proto, port in closed)
    add = ", ".join(f"{{port: {port}, proto: {proto}}}" for _, proto, port in closed)
    line = (
        f"{through}, and hardening_open_ports does not open what listens for it ({listed}), which"
        f" would be closed after a reboot; add {add}"
    )
    return [line]


def dhcp_problems(found: dict, open_ports: list[dict]) -> list[str]:
    """Return a line where the host gives addresses to others, perhaps to whoever logs in.

    A computer at the Pi's USB port or Wi-Fi hotspot has its address from the Pi, for minutes: a new
    login works until it has to be renewed.

    Args:
        found: What `facts` made of the host.
        open_ports: The setting C(open_ports).
    """
    opened = {(entry.get("proto") or "tcp", int(entry["port"])) for entry in open_ports}
    served = set()
    for listener in found["listeners"]:
        proto, local = listener_words(listener)
        address, _, port = local.rpartition(":")
        if port.isdecimal() and is_outside(address):
            served.add((proto, int(port)))
    if DHCP_SERVER not in served or DHCP_SERVER in opened:
        return []
    closed = [DHCP_SERVER, *([DNS] if DNS in served - opened else [])]
    add = ", ".join(f"{{port: {port}, proto: {proto}}}" for proto, port in closed)
    line = (
        "the host gives addresses to other computers (DHCP, udp port 67; shared USB or Wi-Fi), and"
        " hardening_open_ports does not open that: they would lose them, this one perhaps as well;"
        f" add {add}, or set hardening_firewall to false"
    )
    return [line]


def host_problems(found: dict, settings: dict) -> list[str]:
    """Return a line for each reason not to touch the host.

    Args:
        found: What `facts` made of it.
        settings: The role's settings without their prefix.
    """
    lines = []
    if settings["ssh"]:
        if not found["included"]:
            lines.append(
                "/etc/ssh/sshd_config does not include /etc/ssh/sshd_config.d; put this line at its"
                " beginning: Include /etc/ssh/sshd_config.d/*.conf (or set hardening_ssh to false)"
            )
        if found["user"] == "root" and settings["ssh_root_login"] == "no":
            lines.append(
                "the connection logs in as root and hardening_ssh_root_login is 'no'; log in as a"
                " user who may use sudo, or set it to 'prohibit-password'"
            )
    if settings["firewall"]:
        lines += [
            f"hardening_firewall is true and {name} runs on the host; switch off {name}, or set"
            " hardening_firewall to false"
            for name in found["firewalls"]
        ]
        networks = [ipaddress.ip_network(text, strict=False) for text in settings["ssh_from"]]
        if networks and found["from"]:
            address = ipaddress.ip_address(found["from"].split("%")[0])
            if not any(address in network for network in networks):
                lines.append(
                    f"hardening_ssh_from is {settings['ssh_from']} and this connection comes from"
                    f" {address}; add its network"
                )
        lines += tunnel_problems(found, settings["open_ports"])
        lines += dhcp_problems(found, settings["open_ports"])
    return lines


def ssh_lines(settings: dict, found: dict) -> list[str]:
    """Return the lines of sshd's configuration.

    Args:
        settings: The role's settings without their prefix.
        found: What `facts` made of the host.
    """
    lines = [
        "PubkeyAuthentication yes",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitEmptyPasswords no",
        "HostbasedAuthentication no",
        "IgnoreRhosts yes",
        f"PermitRootLogin {settings['ssh_root_login']}",
        "StrictModes yes",
        "PermitUserEnvironment no",
        f"MaxAuthTries {settings['ssh_max_auth_tries']}",
        f"MaxSessions {settings['ssh_max_sessions']}",
        f"LoginGraceTime {settings['ssh_login_grace_time']}",
        f"ClientAliveInterval {settings['ssh_client_alive_interval']}",
        "ClientAliveCountMax 2",
        "TCPKeepAlive no",
        "Compression no",
        "UseDNS no",
        "LogLevel VERBOSE",
        f"AllowTcpForwarding {settings['ssh_tcp_forwarding']}",
        "AllowAgentForwarding no",
        "X11Forwarding no",
        "PermitTunnel no",
        "GatewayPorts no",
        "RequiredRSASize 2048",
    ]
    if settings["banner"]:
        lines.append("Banner /etc/issue.net")
    for kind, wanted in ALGORITHMS.items():
        known = [name for name in wanted if name in found["algorithms"][kind]]
        if known:
            lines.append(f"{KEYWORDS[kind]} {','.join(known)}")
    for keyword, name in (("AllowUsers", "ssh_allow_users"), ("AllowGroups", "ssh_allow_groups")):
        if settings[name]:
            lines.append(f"{keyword} {' '.join(settings[name])}")
    return lines


def ssh_in_force(lines: list[str]) -> list[str]:
    """Return what `sshd -T` must print where these lines of configuration are in force."""
    told = []
    for line in lines:
        keyword, value = line.split(" ", 1)
        # One line for each user and group.
        several = value.split() if keyword.startswith("Allow") else [value]
        told += [f"{keyword.lower()} {AS_TOLD.get((keyword, one), one)}" for one in several]
    return told


def sources(networks: list[str]) -> list[str]:
    """Return what a rule begins with for each family that networks name; once nothing for none."""
    if not networks:
        return [""]
    starts = []
    for kind, word in ((ipaddress.IPv4Network, "ip"), (ipaddress.IPv6Network, "ip6")):
        given = [ipaddress.ip_network(text, strict=False) for text in networks]
        # nft refuses a set in which one contains another.
        of_family = ipaddress.collapse_addresses(one for one in given if isinstance(one, kind))
        listed = ", ".join(str(one) for one in of_family)
        if listed:
            starts.append(f"{word} saddr {{ {listed} }} ")
    return starts


def open_rules(ports: list[dict], ssh_ports: list[int], ssh_from: list[str]) -> list[str]:
    """Return nft's rules for what may be reached from outside.

    A port is what those outside asked for: Docker has changed it before rules see a packet.

    Args:
        ports: The setting C(open_ports).
        ssh_ports: Where sshd listens, and where the connection in use came in.
        ssh_from: The setting C(ssh_from).
    """
    entries = [{"port": port, "from": ssh_from} for port in ssh_ports] + list(ports)
    rules = []
    for entry in entries:
        proto = entry.get("proto") or "tcp"
        rule = f"meta l4proto {proto} ct original proto-dst {int(entry['port'])} accept"
        rules += [start + rule for start in sources(entry.get("from") or [])]
    return list(dict.fromkeys(rules))


def listener_words(listener: str) -> tuple[str, str]:
    """Return a listener's protocol, and its address and port as ss has them; `?` for what lacks."""
    words = [*listener.split(), *["?"] * 5]
    return words[0], words[4]


def is_outside(address: str) -> bool:
    """Tell whether what listens on an address can be reached from another machine.

    What ss may print some day and is no address counts as reachable.

    Args:
        address: As ss has it: an address, perhaps in brackets, perhaps with an interface within or
            behind them.
    """
    bare = address.split("%", maxsplit=1)[0].strip("[]")
    try:
        parsed = ipaddress.ip_address(bare)
    except ValueError:
        return True
    mapped = getattr(parsed, "ipv4_mapped", None)
    return not (mapped or parsed).is_loopback


def unexpected(found: dict, settings: dict) -> list[str]:
    """Return a line for each program that listens to the network where nothing is opened.

    Args:
        found: What `facts` made of the host.
        settings: The role's settings without their prefix.
    """
    expected = {("tcp", port) for port in found["ports"]} | DHCP_CLIENTS
    expected |= {(e.get("proto") or "tcp", int(e["port"])) for e in settings["open_ports"]}
    if settings["mdns"]:
        expected.add(MDNS)
    quiet = LLMNR if settings["firewall"] else set()
    lines = []
    for listener in found["listeners"]:
        proto, local = listener_words(listener)
        address, _, port = local.rpartition(":")
        served = (proto, int(port) if port.isdecimal() else port)
        if not is_outside(address) or served in expected:
            continue
        named = LISTENER.search(listener)
        if named and named[1] == RESOLVER and served in quiet:
            continue
        if named and named[1] == MDNS_RESPONDER and settings["mdns"] and quiet and proto == "udp":
            continue
        closed = "the firewall closes it" if settings["firewall"] else "no firewall closes it"
        lines.append(
            f"{named[1] if named else 'the kernel'} listens on {proto} port {port}, which"
            f" hardening_open_ports does not open ({closed}); stop it, or add"
            f" {{port: {port}, proto: {proto}}}"
        )
    return list(dict.fromkeys(lines))


def login_command(reach: dict, user: str) -> list[str]:
    """Return the command with which the controller logs in anew, by key and by nothing else.

    Args:
        reach: How Ansible reaches the host: C(executable), C(host), C(port), C(key), and options in
            C(args), C(common) and C(extra).
        user: Whom the connection in use belongs to.

    Raises:
        AnsibleFilterError: The host's name would be taken for an option.
    """
    if not reach["host"] or reach["host"].startswith("-"):
        raise AnsibleFilterError(f"ansible_host is {reach['host']!r}, which is no host")
    # First, as the first value wins: a connection of its own, by key, and no question asked.
    command = [reach["executable"] or "ssh"]
    for option in (
        "ControlMaster=no",
        "ControlPath=none",
        "BatchMode=yes",
        "PreferredAuthentications=publickey",
        "ConnectTimeout=30",
    ):
        command += ["-o", option]
    for text in (reach["args"], reach["common"], reach["extra"]):
        command += shlex.split(text or "")
    if reach["port"]:
        command += ["-p", str(reach["port"])]
    if reach["key"]:
        command += ["-i", reach["key"]]
    return [*command, "-l", user, reach["host"], "true"]


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "hardening_facts": facts,
            "hardening_host_problems": host_problems,
            "hardening_login_command": login_command,
            "hardening_open_rules": open_rules,
            "hardening_setting_problems": setting_problems,
            "hardening_ssh_in_force": ssh_in_force,
            "hardening_ssh_lines": ssh_lines,
            "hardening_unexpected": unexpected,
        }
