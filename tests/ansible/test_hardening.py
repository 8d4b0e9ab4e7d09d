"""The role hardening: its filters, and its scripts against trees and programs made for the test."""

import os
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from jinja2 import Environment

from roles.hardening.filter_plugins import hardening
from tests import lynis_audit

ROLE = Path(__file__).resolve().parents[2] / "roles/hardening"
ALL = {
    "ssh": True,
    "firewall": True,
    "rollback_seconds": 60,
    "ssh_root_login": "no",
    "ssh_allow_users": [],
    "ssh_allow_groups": [],
    "ssh_from": [],
    "ssh_tcp_forwarding": "local",
    "ssh_max_auth_tries": 3,
    "ssh_max_sessions": 2,
    "ssh_login_grace_time": 30,
    "ssh_client_alive_interval": 300,
    "banner": "private",
    "open_ports": [],
    "mdns": True,
    "ping_per_second": 5,
    "container_interfaces": ["docker0", "br-*"],
    "upgrades_held": ["docker"],
    "reboot_window": "",
    "umask": "027",
    "shell_timeout_seconds": 3600,
    "kernel_modules": ["dccp"],
}
LOOK = """connection 192.168.1.7 50000 192.168.1.20 2222
user trader
include yes
port 22
kex curve25519-sha256,diffie-hellman-group14-sha1,mlkem768x25519-sha256,
cipher aes128-cbc,aes256-ctr,chacha20-poly1305@openssh.com,
mac hmac-sha1,hmac-sha2-256-etm@openssh.com,
digest abc /etc/ssh/sshd_config.d/00-gridberry.conf
listen udp UNCONN 0 0 10.0.2.15%enp0s5:68 0.0.0.0:* users:(("systemd-network",pid=248,fd=31))
listen udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=229,fd=18))
listen tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=328,fd=6))
listen tcp LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=328,fd=7))
listen tcp LISTEN 0 4096 *:9100 *:* users:(("node_exporter",pid=9,fd=3))
listen tcp LISTEN 0 4096 [::1]:631 [::]:* users:(("cupsd",pid=10,fd=7))
listen udp UNCONN 0 0 0.0.0.0:111 0.0.0.0:* users:(("rpcbind",pid=11,fd=5))
listen udp UNCONN 0 0 [::]:111 [::]:* users:(("rpcbind",pid=11,fd=7))
listen tcp LISTEN 0 64 0.0.0.0:2049 0.0.0.0:*
"""
VPNS = """listen udp UNCONN 0 0 0.0.0.0:51820 0.0.0.0:*
listen udp UNCONN 0 0 [::]:51820 [::]:*
listen udp UNCONN 0 0 0.0.0.0:51821 0.0.0.0:*
listen udp UNCONN 0 0 0.0.0.0:41641 0.0.0.0:* users:(("tailscaled",pid=12,fd=3))
listen tcp LISTEN 0 32 0.0.0.0:443 0.0.0.0:* users:(("openvpn",pid=13,fd=3))
listen tcp LISTEN 0 1 127.0.0.1:7505 0.0.0.0:* users:(("openvpn",pid=13,fd=4))
listen udp UNCONN 0 0 0.0.0.0:500 0.0.0.0:* users:(("charon",pid=14,fd=9))
listen udp UNCONN 0 0 0.0.0.0:4500 0.0.0.0:* users:(("charon",pid=14,fd=10))
"""
FOUND = hardening.facts(LOOK)


@pytest.mark.parametrize(("said", "found"), [("Y\n", True), ("N\n", False), (None, False)])
def test_look_knows_whether_the_kernel_confines(tmp_path, said, found):
    switch = tmp_path / "module/apparmor/parameters/enabled"
    switch.parent.mkdir(parents=True)
    if said:
        switch.write_text(said)
    done = subprocess.run(
        ["sh", ROLE / "files/look.sh"],
        env={"PATH": os.environ["PATH"], "SYS": str(tmp_path), "SSHD_DROP_IN": "", "FIREWALL": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("apparmor yes" in done.stdout.splitlines()) == found
    assert hardening.facts(done.stdout)["apparmor"] == found


class TestSettings:
    def test_good_ones_have_no_problems(self):
        good = ALL | {
            "ssh_allow_users": ["trader", "ops@192.168.1.*"],
            "ssh_from": ["192.168.1.0/24", "fd00::/8"],
            "open_ports": [
                {"port": 9100, "proto": "tcp", "from": ["10.0.0.1"]},
                {"port": "4002", "from": ["192.168.1.21"]},
            ],
            "gateway_trusts": ["192.168.1.21", "192.168.1.22"],
            "reboot_window": "04:00",
            "shell_timeout_seconds": 0,
            "upgrades_held": ["docker", "linux-image-.*$", "libstdc\\+\\+6$"],
        }
        assert hardening.setting_problems(good) == []
        gateway = {"open_ports": [{"port": 4001}]}  # of another program
        assert hardening.setting_problems(ALL | gateway | {"gateway_trusts": ""}) == []

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            (
                {"ssh_allow_users": ["a b"]},
                "hardening_ssh_allow_users has 'a b'; use a name such as",
            ),
            ({"ssh_allow_groups": ["x\nPermitRootLogin yes"]}, "hardening_ssh_allow_groups has"),
            ({"ssh_from": ["lan"]}, "hardening_ssh_from has 'lan'; use a network such as"),
            ({"open_ports": [{"port": 70000}]}, "entry 1: port is 70000; use 1 to 65535"),
            (
                {"open_ports": [{"port": 1}, {"port": 2, "from": ["x; accept"]}]},
                "hardening_open_ports, entry 2: from has 'x; accept'",
            ),
            (
                {"open_ports": [{"port": 4002}], "gateway_trusts": ["192.168.1.21"]},
                "entry 1: port is 4002, the API of IB Gateway, by which anybody can trade;",
            ),
            (
                {"open_ports": [{"port": "4001", "from": ["10.0.0.0/8"]}], "gateway_trusts": []},
                "entry 1: port is 4001, the API of IB Gateway",
            ),
            ({"container_interfaces": ['x" accept']}, "hardening_container_interfaces has"),
            ({"kernel_modules": ["usb storage"]}, "hardening_kernel_modules has 'usb storage'"),
            ({"upgrades_held": ['x"; };']}, "hardening_upgrades_held has"),
            ({"reboot_window": "4:00"}, "hardening_reboot_window is '4:00'; use '04:00'"),
            ({"umask": "27"}, "hardening_umask is '27'; use '027'"),
            (
                {"shell_timeout_seconds": 30},
                "hardening_shell_timeout_seconds is 30; use 60 to 86400, or 0 for never",
            ),
            ({"rollback_seconds": 5}, "hardening_rollback_seconds is 5; use 30 to 3600"),
            ({"ssh_max_auth_tries": 0}, "hardening_ssh_max_auth_tries is 0; use 1 to 100"),
        ],
    )
    def test_bad_ones_are_named(self, settings, says):
        (line,) = hardening.setting_problems(ALL | settings)
        assert says in line


class TestShell:
    def profile(self, tmp_path: Path, seconds: int) -> Path:
        part = yaml.safe_load((ROLE / "vars/main/accounts.yml").read_text())
        (text,) = (
            entry["content"]
            for entry in part["__hardening_account_files"]
            if entry["path"] == "/etc/profile.d/gridberry-shell.sh"
        )
        environment = Environment(autoescape=True, trim_blocks=True, keep_trailing_newline=True)
        path = tmp_path / "profile.sh"
        path.write_text(
            environment.from_string(text).render(hardening_shell_timeout_seconds=seconds)
        )
        return path

    def shell(self, *words: str, **variables: str) -> subprocess.CompletedProcess:
        """Run a shell at a terminal of its own, with nobody at it."""
        ours, its = os.openpty()
        try:
            return subprocess.run(
                ["bash", *words],
                env={"PATH": os.environ["PATH"], "PS1": "$ "} | variables,
                stdin=its,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        finally:
            os.close(ours)
            os.close(its)

    @pytest.mark.parametrize(
        ("how", "variables", "told"),
        [
            ("-ic", {}, "3600"),
            ("-c", {}, "none"),  # a script
            ("-ic", {"TMUX": "/tmp/tmux-1000/default,9,0"}, "none"),
            ("-ic", {"STY": "9.pts-0.pi"}, "none"),
        ],
    )
    def test_which_shells_end(self, tmp_path, how, variables, told):
        command = f". {self.profile(tmp_path, 3600)}; echo ${{TMOUT-none}}"
        assert self.shell("--norc", how, command, **variables).stdout == f"{told}\n"

    def test_what_runs_in_one_does_not_inherit_it(self, tmp_path):
        command = f". {self.profile(tmp_path, 3600)}; env; ulimit -Hc"
        told = self.shell("--norc", "-ic", command).stdout
        assert "TMOUT" not in told
        assert told.endswith("\n0\n")

    def test_an_idle_one_ends(self, tmp_path):
        profile = self.profile(tmp_path, 1)
        done = self.shell("--rcfile", str(profile), "-i")
        assert "auto-logout" in done.stdout + done.stderr

    def test_none_ends_where_that_is_off(self, tmp_path):
        assert "TMOUT" not in self.profile(tmp_path, 0).read_text()


class TestNoexec:
    @pytest.mark.parametrize(
        ("shared_memory", "at_boot", "said"),
        [
            ("rw,nosuid,nodev,noexec", 0, ""),
            ("rw,nosuid,nodev", 0, "programs start from /dev/shm\n"),
            ("rw,nosuid,nodev,noexec", 1, "not set at boot\n"),
        ],
    )
    def test_both_places_and_the_next_boot(self, tmp_path, shared_memory, at_boot, said):
        part = yaml.safe_load((ROLE / "vars/main/noexec.yml").read_text())
        (effect,) = part["__hardening_noexec_part"]["effects"]["present"]
        for name, text in (
            ("systemctl", f"exit {at_boot}"),
            ("findmnt", f'[ "$4" = /dev/shm ] && echo {shared_memory} || echo rw,nosuid,noexec'),
        ):
            (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / name).chmod(0o755)
        done = subprocess.run(
            ["sh", "-c", effect["probe"]],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.returncode) == (said, int(bool(said)))


class TestHost:
    def test_facts(self):
        assert FOUND["user"] == "trader"
        assert FOUND["from"] == "192.168.1.7"
        # Where sshd listens, and where the connection in use came in.
        assert FOUND["ports"] == [22, 2222]
        assert FOUND["included"]
        assert FOUND["digests"] == {"/etc/ssh/sshd_config.d/00-gridberry.conf": "abc"}

    def test_an_empty_look_is_no_error(self):
        found = hardening.facts("connection \nuser \n")
        assert (found["user"], found["from"], found["ports"]) == ("", "", [])

    def test_nothing_in_the_way(self):
        assert hardening.host_problems(FOUND, ALL) == []
        inside = ALL | {"ssh_from": ["192.168.1.0/24"]}
        assert hardening.host_problems(FOUND, inside) == []

    @pytest.mark.parametrize(
        ("found", "settings", "says"),
        [
            ({"included": False}, {}, "does not include /etc/ssh/sshd_config.d"),
            ({"user": "root"}, {}, "logs in as root and hardening_ssh_root_login is 'no'"),
            ({"firewalls": ["ufw"]}, {}, "hardening_firewall is true and ufw runs"),
            ({}, {"ssh_from": ["10.0.0.0/8", "fd00::/8"]}, "comes from 192.168.1.7; add its"),
        ],
    )
    def test_what_is_in_the_way(self, found, settings, says):
        (line,) = hardening.host_problems(FOUND | found, ALL | settings)
        assert says in line

    @pytest.mark.parametrize(
        ("way", "ports", "says"),
        [
            ("wg0 wireguard", [], "WireGuard on udp port 51820, WireGuard on udp port 51821"),
            ("wg0 wireguard 51820", [], "(WireGuard on udp port 51820), which would be closed"),
            ("wg0 wireguard 51820", [(51821, "udp")], "add {port: 51820, proto: udp}"),
            ("wg0 wireguard 51820", [(51820, None)], "add {port: 51820, proto: udp}"),
            ("tun0 tun", [], "openvpn on tcp port 443"),
            ("ipsec0 xfrm", [(443, "tcp")], "charon on udp port 4500"),
            ("gre1 gre", [(51820, "udp")], "hardening_open_ports could open; log in without"),
        ],
    )
    def test_a_login_through_a_tunnel_that_would_be_closed(self, way, ports, says):
        settings = ALL | {"open_ports": [{"port": port, "proto": proto} for port, proto in ports]}
        (line,) = hardening.host_problems(hardening.facts(f"{LOOK}way {way}\n{VPNS}"), settings)
        assert f"the tunnel {way.split()[0]} ({way.split()[1]})" in line
        assert says in line

    @pytest.mark.parametrize(
        ("way", "ports"),
        [
            ("eth0", []),
            ("tailscale0 tun", []),
            ("wg0 wireguard 51820", [(51820, "udp")]),
            ("wg0 wireguard", [(51820, "udp")]),
            ("tun0 tun", [(443, "tcp")]),
        ],
    )
    def test_a_login_that_stays_open(self, way, ports):
        settings = ALL | {"open_ports": [{"port": port, "proto": proto} for port, proto in ports]}
        found = hardening.facts(f"{LOOK}way {way}\n{VPNS}")
        assert hardening.host_problems(found, settings) == []

    def test_a_tunnel_that_the_host_opened_itself(self):
        # A client of OpenVPN with `nobind` listens nowhere.
        found = hardening.facts(f"{LOOK}way tun0 tun\n")
        assert hardening.host_problems(found, ALL) == []

    def test_ipsec_needs_both_of_its_ports(self):
        found = hardening.facts(f"{LOOK}way ipsec0 xfrm\n{VPNS}")
        one = [{"port": 500, "proto": "udp"}]
        (line,) = hardening.host_problems(found, ALL | {"open_ports": one})
        assert line.endswith("add {port: 4500, proto: udp}")
        both = [*one, {"port": 4500, "proto": "udp"}]
        assert hardening.host_problems(found, ALL | {"open_ports": both}) == []

    # What NetworkManager's dnsmasq listens on where a computer at the USB port is given addresses.
    SHARED = (
        'listen udp UNCONN 0 0 0.0.0.0%usb0:67 0.0.0.0:* users:(("dnsmasq",pid=700,fd=4))\n'
        'listen udp UNCONN 0 0 10.12.194.1:53 0.0.0.0:* users:(("dnsmasq",pid=700,fd=6))\n'
    )

    def test_a_host_that_gives_addresses_goes_on_doing_so(self):
        found = hardening.facts(f"{LOOK}way usb0\n{self.SHARED}")
        (line,) = hardening.host_problems(found, ALL)
        assert "add {port: 67, proto: udp}, {port: 53, proto: udp}, or" in line
        opened = [{"port": 67, "proto": "udp"}, {"port": 53, "proto": "udp"}]
        assert hardening.host_problems(found, ALL | {"open_ports": opened}) == []
        assert hardening.host_problems(found, ALL | {"firewall": False}) == []

    def test_a_client_of_dhcp_gives_none(self):
        client = 'listen udp UNCONN 0 0 192.168.1.5%eth0:68 0.0.0.0:* users:(("dhcpcd",pid=7,fd=4))'
        assert hardening.host_problems(hardening.facts(f"{LOOK}{client}\n"), ALL) == []

    def test_without_the_firewall_no_tunnel_is_closed(self):
        found = hardening.facts(f"{LOOK}way wg0 wireguard 51820\n{VPNS}")
        assert hardening.host_problems(found, ALL | {"firewall": False}) == []

    def test_a_part_that_is_off_is_in_nobodys_way(self):
        found = FOUND | {"included": False, "user": "root", "firewalls": ["ufw"]}
        assert hardening.host_problems(found, ALL | {"ssh": False, "firewall": False}) == []

    def test_root_may_stay_where_told(self):
        settings = ALL | {"ssh_root_login": "prohibit-password"}
        assert hardening.host_problems(FOUND | {"user": "root"}, settings) == []


class TestSsh:
    def test_only_algorithms_that_the_release_knows(self):
        lines = hardening.ssh_lines(ALL, FOUND)
        assert "KexAlgorithms mlkem768x25519-sha256,curve25519-sha256" in lines
        assert "Ciphers chacha20-poly1305@openssh.com,aes256-ctr" in lines
        assert "MACs hmac-sha2-256-etm@openssh.com" in lines

    def test_no_list_where_the_host_tells_none(self):
        lines = hardening.ssh_lines(ALL, hardening.facts(""))
        assert not [line for line in lines if line.startswith(("Kex", "Ciphers", "MACs"))]

    def test_users_groups_and_banner(self):
        lines = hardening.ssh_lines(
            ALL | {"ssh_allow_users": ["a", "b"], "ssh_allow_groups": ["g"], "banner": ""}, FOUND
        )
        assert lines[-2:] == ["AllowUsers a b", "AllowGroups g"]
        assert not [line for line in lines if line.startswith("Banner")]

    def test_in_force_is_what_sshd_tells(self):
        lines = ["PermitRootLogin prohibit-password", "AllowUsers a b", "LogLevel VERBOSE"]
        assert hardening.ssh_in_force(lines) == [
            "permitrootlogin without-password",
            "allowusers a",
            "allowusers b",
            "loglevel VERBOSE",
        ]

    def test_the_new_login_uses_a_connection_of_its_own(self):
        reach = {
            "executable": "ssh",
            "host": "pi1.lan",
            "port": 2222,
            "key": "/keys/a b",
            "args": "-o ControlMaster=auto",
            "common": "-o 'ProxyJump=gate one'",
            "extra": "",
        }
        command = hardening.login_command(reach, "trader")
        assert command.index("ControlPath=none") < command.index("ControlMaster=auto")
        assert {"BatchMode=yes", "PreferredAuthentications=publickey"} <= set(command)
        assert command[-9:] == [
            "ProxyJump=gate one",
            *("-p", "2222", "-i", "/keys/a b", "-l", "trader", "pi1.lan", "true"),
        ]

    def test_a_host_is_no_option(self):
        with pytest.raises(AnsibleFilterError, match="is no host"):
            hardening.login_command(dict.fromkeys(("executable", "args"), "") | {"host": "-oX"}, "")


class TestFirewall:
    def test_rules(self):
        ports = [
            {"port": 8080},
            {"port": 53, "proto": "udp", "from": ["10.1.2.3/8", "fd00::1", "192.0.2.4"]},
        ]
        assert hardening.open_rules(ports, [22], ["192.168.1.0/24"]) == [
            "ip saddr { 192.168.1.0/24 } meta l4proto tcp ct original proto-dst 22 accept",
            "meta l4proto tcp ct original proto-dst 8080 accept",
            (
                "ip saddr { 10.0.0.0/8, 192.0.2.4/32 } meta l4proto udp"
                " ct original proto-dst 53 accept"
            ),
            "ip6 saddr { fd00::1/128 } meta l4proto udp ct original proto-dst 53 accept",
        ]

    def test_overlapping_networks_are_merged(self):
        # nft refuses a set whose intervals overlap.
        (rule,) = hardening.open_rules([], [22], ["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"])
        assert "{ 10.0.0.0/8 }" in rule

    def test_the_page_is_open_where_it_is_published(self):
        template = yaml.safe_load((ROLE / "defaults/main.yml").read_text())["hardening_open_ports"]
        render = (
            Environment(autoescape=True).from_string(template).render
        )  # strings of numbers alone
        assert render() == render(grid_bot_page_address="127.0.0.1") == "[]"
        shown = render(grid_bot_page_address="0.0.0.0", grid_bot_page_port=81)
        assert shown.replace("&#39;", "'") == "[{'port': 81}]"
        follower, judge = ({"role": role} for role in ("follower", "judge"))
        there = {"grid_bot_judge_address": "192.168.1.21"}
        assert render(**there) == render(**there, grid_bot_account_guard=follower) == "[]"
        shown = render(**there, grid_bot_account_guard=judge)
        assert shown.replace("&#39;", "'") == "[{'port': 8090}]"

    def test_the_database_is_open_to_its_clients_on_its_own_hosts(self):
        template = yaml.safe_load((ROLE / "defaults/main.yml").read_text())["hardening_open_ports"]
        render = Environment(autoescape=True).from_string(template).render
        clients = {"timescaledb_clients": ["10.0.0.0/8"], "groups": {"database": ["pi1"]}}
        shown = render(**clients, inventory_hostname="pi1").replace("&#39;", "'")
        assert shown == "[{'port': 5432, 'from': ['10.0.0.0/8']}]"
        assert render(**clients, inventory_hostname="pi2") == "[]"
        assert render(clients | {"timescaledb_clients": []}, inventory_hostname="pi1") == "[]"

    def test_the_hub_is_open_where_it_listens_to_the_network(self):
        template = yaml.safe_load((ROLE / "defaults/main.yml").read_text())["hardening_open_ports"]
        render = Environment(autoescape=True).from_string(template).render
        there = {"hub_address": "0.0.0.0", "hub_port": 82}
        shown = render(**there, hub_serve=True).replace("&#39;", "'")
        assert shown == "[{'port': 82}]"
        assert render(**there) == render(hub_serve=True) == "[]"
        assert render(**there, hub_serve=True, hub_state="absent") == "[]"

    def test_what_listens_and_is_not_opened(self):
        lines = hardening.unexpected(FOUND, ALL)
        assert [line.split(", which")[0] for line in lines] == [
            "node_exporter listens on tcp port 9100",
            "rpcbind listens on udp port 111",
            "the kernel listens on tcp port 2049",
        ]
        assert "the firewall closes it" in lines[0]
        opened = ALL | {
            "open_ports": [{"port": 9100}, {"port": 2049}, {"port": 111, "proto": "udp"}]
        }
        assert hardening.unexpected(FOUND, opened) == []

    @pytest.mark.parametrize(
        ("address", "outside"),
        [
            ("[fe80::1c2b:3]%eth0", True),
            ("[fe80::1c2b:3%eth0]", True),
            ("fe80::1c2b:3%eth0", True),
            ("*", True),
            ("*%eth0", True),
            ("[::]", True),
            ("0.0.0.0", True),
            ("0.0.0.0%lo", True),
            ("[::ffff:192.0.2.4]", True),
            ("[::ffff:127.0.0.1]", False),
            ("127.0.0.53%lo", False),
            ("[::1]", False),
            ("[::1]%lo", False),
            ("a word of a later ss", True),
            ("", True),
        ],
    )
    def test_every_address_that_ss_prints(self, address, outside):
        assert hardening.is_outside(address) is outside

    def test_the_dhcp_client_of_networkmanager(self):
        listener = (
            'listen udp UNCONN 0 0 [fe80::1c2b:3]%eth0:546 [::]:* users:(("NetworkManager",pid=9))'
        )
        assert hardening.unexpected(hardening.facts(listener), ALL) == []

    @pytest.mark.parametrize("listener", ["tcp", "tcp LISTEN 0 4096 *:http *:*"])
    def test_a_line_that_is_not_understood_is_told(self, listener):
        (line,) = hardening.unexpected(hardening.facts(f"listen {listener}"), ALL)
        assert "listens on tcp port" in line

    def test_names_of_neighbours_are_quiet_where_they_are_closed(self):
        listener = 'listen udp UNCONN 0 0 [::]:5355 [::]:* users:(("{}",pid=9,fd=3))'
        found = hardening.facts(listener.format("systemd-resolve"))
        assert hardening.unexpected(found, ALL) == []
        assert len(hardening.unexpected(found, ALL | {"firewall": False})) == 1
        assert len(hardening.unexpected(hardening.facts(listener.format("other")), ALL)) == 1

    def test_avahis_port_for_its_own_questions_is_quiet_where_it_is_closed(self):
        listener = 'listen udp UNCONN 0 0 0.0.0.0:43288 0.0.0.0:* users:(("{}",pid=9,fd=14))'
        found = hardening.facts(listener.format("avahi-daemon"))
        assert hardening.unexpected(found, ALL) == []
        assert len(hardening.unexpected(found, ALL | {"firewall": False})) == 1
        assert len(hardening.unexpected(found, ALL | {"mdns": False})) == 1
        assert len(hardening.unexpected(hardening.facts(listener.format("other")), ALL)) == 1

    def test_without_a_firewall_it_says_so(self):
        assert "no firewall closes it" in hardening.unexpected(FOUND, ALL | {"firewall": False})[0]


def run_script(name: str, directory: Path, programs: dict[str, str], **variables: str) -> str:
    """Run one of the role's scripts with programs of the test's; return what it printed."""
    path = directory / "bin"
    path.mkdir()
    for program, text in programs.items():
        (path / program).write_text(f"#!/bin/sh\n{text}\n")
        (path / program).chmod(0o755)
    environment = {"PATH": f"{path}:{os.environ['PATH']}"} | variables
    done = subprocess.run(
        ["sh", ROLE / "files" / name], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


PROGRAMS = {
    "sshd": 'echo "port 22"; echo "usedns no"',
    "ssh": 'echo "one-$2"; echo "two-$2"',
    "ss": 'echo "tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:*"',
    "systemctl": '[ "$3" = firewalld ]',
    "ip": """
case "$*" in
"-o route get 10.0.0.1") echo "10.0.0.1 via 10.0.0.254 dev eth0 src 10.0.0.2 uid 0 \\    cache" ;;
"-o route get "*) echo "$4 dev wg0 src 10.6.0.1 uid 0 \\    cache" ;;
*eth0) echo "2: eth0: <UP> mtu 1500 \\    link/ether aa:bb brd ff:ff promiscuity 0 numtxqueues 1" ;;
*wg0) echo "5: wg0: <UP> mtu 1420 \\    link/none promiscuity 0 \\    wireguard addrgenmode none" ;;
esac""",
    "wg": '[ "$*" = "show wg0 listen-port" ] && echo 51820',
}


class TestLook:
    def look(self, tmp_path: Path, included: str, address: str = "10.0.0.1") -> str:
        etc = tmp_path / "etc"
        (etc / "ssh").mkdir(parents=True)
        (etc / "ssh/sshd_config").write_text(f"# a comment\n{included}\nUsePAM yes\n")
        (etc / "ufw").mkdir()
        (etc / "ufw/ufw.conf").write_text("ENABLED=yes\n")
        (tmp_path / "rules").write_text("x")
        return run_script(
            "look.sh",
            tmp_path,
            PROGRAMS,
            ETC=str(etc),
            SSHD_DROP_IN=str(tmp_path / "nothing"),
            FIREWALL=str(tmp_path / "rules"),
            SSH_CONNECTION=f"{address} 5 10.0.0.2 22",
            USER="trader",
        )

    def test_it_finds_all(self, tmp_path):
        found = hardening.facts(self.look(tmp_path, "Include /etc/ssh/sshd_config.d/*.conf"))
        assert found["included"]
        assert found["ports"] == [22]
        assert found["firewalls"] == ["ufw", "firewalld"]
        assert found["algorithms"]["kex"] == ["one-kex", "two-kex", ""]
        assert list(found["digests"]) == [str(tmp_path / "rules")]
        assert len(found["listeners"]) == 1
        assert (found["user"], found["from"]) == ("trader", "10.0.0.1")

    @pytest.mark.parametrize(
        ("address", "way"),
        [
            ("10.0.0.1", "eth0"),
            ("10.6.0.7", "wg0 wireguard 51820"),
            ("fe80::7%eth0", "eth0"),
            ("fe80::7%wg0", "wg0 wireguard 51820"),
        ],
    )
    def test_the_way_of_the_login(self, tmp_path, address, way):
        (line,) = hardening.values(self.look(tmp_path, "", address), "way")
        assert line == way

    @pytest.mark.parametrize("line", ["", "#Include /etc/ssh/sshd_config.d/*.conf", "Include /x"])
    def test_a_file_that_includes_nothing(self, tmp_path, line):
        assert not hardening.facts(self.look(tmp_path, line))["included"]


# Programs that note how they were called; "mounted" stands for the mount.
STUBS = {
    "sshd": """
echo "sshd $*" >>"$LOG"
[ "$FAIL" = "sshd $1" ] && { echo "line 3: Bad configuration option" >&2; exit 255; }
[ "$1" = -T ] && echo "passwordauthentication ${TOLD:-no}"
exit 0""",
    "nft": """
echo "nft $*" >>"$LOG"
[ "$FAIL" = "nft $1" ] && { echo "Error: syntax error" >&2; exit 1; }
[ "$1" = list ] && exit "${LISTED:-1}"
exit 0""",
    "mount": 'echo mount >>"$LOG"; touch "$RUN.mounted"',
    "umount": 'echo umount >>"$LOG"; rm "$RUN.mounted"',
    "mountpoint": '[ -e "$RUN.mounted" ]',
    "systemctl": """
echo "systemctl $*" >>"$LOG"
case "$*" in *rollback.service) exit 3 ;; esac
exit 0""",
    "systemd-run": """
echo armed >>"$LOG"
[ "$FAIL" != systemd-run ] || { echo no bus >&2; exit 1; }""",
}


class TestTrial:
    def run(self, directory: Path, script: str = "trial.sh", **variables: str) -> str:
        """Run a script with programs that only note that they were called."""
        for old in (directory / "bin").glob("*"):
            old.unlink()
        if (directory / "bin").is_dir():
            (directory / "bin").rmdir()
        return run_script(
            script,
            directory,
            STUBS,
            LOG=str(directory / "log"),
            **{
                "FAIL": "",
                "RUN": str(directory / "run"),
                "SSHD_DROP_IN": str(directory / "drop-in"),
                "FIREWALL": str(directory / "rules"),
                "SSHD_NEW": "PasswordAuthentication no",
                "FIREWALL_NEW": "table inet gridberry",
                "IN_FORCE": "passwordauthentication no",
                "ROLLBACK": (ROLE / "files/rollback.sh").read_text(),
                "SECONDS_LEFT": "60",
                "LOGIN": "trader",
                "FROM": "192.0.2.1",
            }
            | variables,
        )

    def log(self, directory: Path) -> list[str]:
        return (directory / "log").read_text().splitlines()

    def test_the_timer_is_armed_before_anything_is_in_force(self, tmp_path):
        assert self.run(tmp_path) == "trying\n"
        log = self.log(tmp_path)
        rules = f"nft -f {tmp_path}/run/firewall.nft"
        assert log.index("armed") < log.index(rules) < log.index("systemctl reload ssh.service")
        assert "sshd -T -C user=trader,host=192.0.2.1,addr=192.0.2.1" in log[: log.index("armed")]

    def test_kept_after_the_login(self, tmp_path):
        self.run(tmp_path)
        assert self.run(tmp_path, "keep.sh") == "kept\n"
        assert self.log(tmp_path)[-1] == "umount"
        assert not (tmp_path / "run").exists()

    def test_not_kept_where_the_timer_was_first(self, tmp_path):
        self.run(tmp_path)
        self.run(tmp_path, "take_back.sh")
        assert "problem the new login took too long" in self.run(tmp_path, "keep.sh")

    def test_taken_back(self, tmp_path):
        self.run(tmp_path)
        (tmp_path / "log").unlink()
        self.run(tmp_path, "take_back.sh")
        assert [line for line in self.log(tmp_path) if "is-active" not in line] == [
            "systemctl stop gridberry-hardening-rollback.timer",
            "umount",
            "systemctl reload ssh.service",
            "nft delete table inet gridberry",
        ]
        # The place that was held for the trial.
        assert not (tmp_path / "drop-in").exists()
        assert not (tmp_path / "run").exists()

    def test_taken_back_to_what_was_there(self, tmp_path):
        (tmp_path / "drop-in").write_text("old\n")
        (tmp_path / "rules").write_text("old\n")
        self.run(tmp_path, LISTED="0")
        self.run(tmp_path, "take_back.sh")
        assert self.log(tmp_path)[-1] == f"nft -f {tmp_path}/rules"
        assert (tmp_path / "drop-in").read_text() == "old\n"

    @pytest.mark.parametrize(
        ("variables", "says"),
        [
            ({"FAIL": "sshd -t"}, "sshd refuses the new SSH settings: line 3: Bad configuration"),
            ({"TOLD": "yes"}, "wins over hardening's passwordauthentication no; take it out"),
            ({"FAIL": "nft -c"}, "nft refuses the new rules: Error: syntax error"),
            ({"FAIL": "nft -f"}, "nft refuses the new rules: Error: syntax error"),
            ({"FAIL": "systemd-run"}, "cannot be armed: no bus"),
        ],
    )
    def test_what_is_in_the_way_leaves_all_as_it_was(self, tmp_path, variables, says):
        answer = self.run(tmp_path, **variables)
        assert answer.startswith("problem ")
        assert says in answer
        assert not (tmp_path / "run").exists()
        assert not (tmp_path / "run.mounted").exists()
        assert not (tmp_path / "drop-in").exists()

    def test_one_part_alone(self, tmp_path):
        assert self.run(tmp_path, SSHD_NEW="") == "trying\n"
        assert not [line for line in self.log(tmp_path) if "sshd" in line or line == "mount"]

    def test_a_trial_that_was_broken_off_is_taken_back_first(self, tmp_path):
        self.run(tmp_path)
        (tmp_path / "log").unlink()
        assert self.run(tmp_path) == "trying\n"
        log = self.log(tmp_path)
        assert log.index("umount") < log.index("mount")


LYNIS = """report_version_major=1
warning[]=PKGS-7392|Found one or more vulnerable packages.|-|-|
suggestion[]=SSH-7408|Consider hardening SSH configuration|Port (set 22 to )|-|
suggestion[]=KRNL-6000|One or more sysctl values differ from the scan profile|-|-|
details[]=KRNL-6000|sysctl|desc:sysctl key;field:kernel.sysrq;prefval:0;value:176;|
details[]=SSH-7408|sshd|desc:sshd option Port;field:Port;prefval:;value:22;|
hardening_index=79
"""


class TestLynis:
    def test_findings(self):
        report = lynis_audit.parse_report(LYNIS)
        assert report.index == 79
        assert [(one.test, one.text) for one in report.findings] == [
            ("PKGS-7392", "Found one or more vulnerable packages."),
            ("SSH-7408", "Consider hardening SSH configuration: Port (set 22 to )"),
            ("KRNL-6000", "kernel.sysrq is 176, lynis wants 0"),
        ]

    def test_an_audit_that_was_broken_off(self):
        with pytest.raises(SystemExit, match="did not come to its end"):
            lynis_audit.parse_report("suggestion[]=X|y|-|-|\n")

    @pytest.mark.parametrize(
        ("index", "reasons", "status"),
        [
            (80, ["PKGS-7392", "SSH-7408", "KRNL-6000"], 0),
            (79, ["PKGS-7392", "SSH-7408", "KRNL-6000"], 1),
            (95, ["PKGS-7392", "SSH-7408"], 1),
        ],
    )
    def test_what_fails(self, index, reasons, status):
        report = lynis_audit.parse_report(LYNIS.replace("79", str(index)))
        given = [{"test": test, "why": f"because of {test}"} for test in reasons]
        text, found = lynis_audit.describe(report, report, given)
        assert found == status
        assert ("NO REASON" in text) == (len(reasons) < 3)
        assert "because of SSH-7408" in text

    def test_a_reason_is_for_what_it_says(self):
        reasons = tomllib.loads((lynis_audit.REASONS).read_text(encoding="utf-8"))["reason"]
        assert all({"test", "why"} <= set(reason) for reason in reasons)
        port = lynis_audit.Finding("SSH-7408", "Consider: Port (set 22 to )")
        other = lynis_audit.Finding("SSH-7408", "Consider: X11Forwarding (set YES to NO)")
        assert lynis_audit.reason_for(port, reasons)
        assert lynis_audit.reason_for(other, reasons) is None
