"""HTTPS before a bot's page: the role's files in the real nginx, and a real page behind it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from gridbase.http import Channel, EventStream, WebServer
from gridbase.tokens import changing, created, save
from gridbot.config.load import PageConfig
from gridbot.service.access import Access, RefusedError

from benchmarks.monitoring.world import free_port

ROOT = Path(__file__).resolve().parents[2]
PATH = f"{os.environ['PATH']}:/usr/sbin"
NGINX = shutil.which("nginx", path=PATH)
NAMES = ["pi1.local", "127.0.0.1"]
PLAY = [{"hosts": "all", "gather_facts": False, "connection": "local", "roles": ["https_proxy"]}]
TASKS = [
    {"ansible.builtin.import_tasks": "check.yml"},
    {
        "ansible.builtin.copy": {
            "content": "{{ dict(__https_proxy_files | map(attribute='path')"
            " | zip(__https_proxy_files)) | to_json }}",
            "dest": "{{ rendered }}/files.json",
            "mode": "0600",
        }
    },
]


def render(place: Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Have Ansible write the role's files for one host into `files.json`."""
    role = place / "roles/https_proxy"
    shutil.rmtree(role, ignore_errors=True)
    shutil.copytree(ROOT / "roles/https_proxy", role)
    (role / "tasks/main.yml").write_text(json.dumps(TASKS))
    told = {"https_proxy_enabled": True, "https_proxy_names": NAMES, "rendered": str(place)}
    inventory = {"all": {"hosts": {"pi1": None}, "vars": told | settings}}
    (place / "hosts.json").write_text(json.dumps(inventory))
    (place / "play.json").write_text(json.dumps(PLAY))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i"]
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(place / "roles"),
    }
    return subprocess.run(
        [*command, str(place / "hosts.json"), str(place / "play.json")],
        capture_output=True, text=True, check=False, cwd=ROOT, env=environment,
    )  # fmt: skip


def files(place: Path) -> dict[str, dict[str, str]]:
    """What the role would write, by path."""
    return json.loads((place / "files.json").read_text())


def known() -> dict[str, Any]:
    """The role's own variables, by what follows their common beginning."""
    told = yaml.safe_load((ROOT / "roles/https_proxy/vars/main.yml").read_text())
    return {name.removeprefix("__https_proxy_"): value for name, value in told.items()}


def test_wrong_settings_are_all_named_and_no_secret_is_shown(tmp_path):
    done = render(
        tmp_path,
        https_proxy_names=["a b"], https_proxy_key="planted-4711", https_proxy_port=8080,
        grid_bot_page_address="0.0.0.0",
        https_proxy_clients=["home; allow all", "10.0.0.0/33", "192.168.1.256", "10.1/8"],
    )  # fmt: skip
    text = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    for said in (
        "https_proxy_names has a b; use host names",
        "https_proxy_certificate and https_proxy_key",
        "the page of pi1 is not on loopback",
        "the ports of HTTPS are 8080; use free ones",
        "https_proxy_clients has home; allow all, 10.0.0.0/33, 192.168.1.256, 10.1/8; use networks",
    ):
        assert said in text
    assert "4711" not in text


def test_a_host_without_pages_has_nothing_to_serve(tmp_path):
    assert "neither a bot nor a hub" in render(tmp_path, grid_bot_state="absent").stdout


def test_each_page_of_a_host_has_its_port_and_a_given_key_is_a_secret(tmp_path):
    key = "-----BEGIN PRIVATE KEY-----\nplanted-4711"
    done = render(
        tmp_path,
        grid_bot_neighbors=["pi1"], hub_serve=True, hub_address="::1", https_proxy_key=key,
        https_proxy_certificate="-----BEGIN CERTIFICATE-----",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    told = files(tmp_path)
    conf = told["/etc/gridberry/https/nginx.conf"]["content"]
    sites = re.findall(r"listen (\d+) ssl;.*?proxy_pass http://(\S+);", conf, re.DOTALL)
    assert sites == [("443", "127.0.0.1:8080"), ("8443", "[::1]:8090")]
    given = told["/etc/gridberry/https/given.key"]
    assert given["secret"] == f"-----BEGIN CERTIFICATE-----\n{key}\n"
    assert (given["mode"], given["validate"]) == ("0600", known()["belong"])
    unit = told["/etc/systemd/system/gridberry-https.service"]["content"]
    assert "LoadCredential=server.key:/etc/gridberry/https/given.key\n" in unit


class Bot:
    """A page with the bot's own rules, on its own server."""

    def __init__(self, place: Path, names: list[str]) -> None:
        tokens = place / "tokens.json"
        self.secret = {}
        for scope in ("read", "act"):
            with changing(tokens) as known:
                more, self.secret[scope] = created(known, scope, scope, 0)
                save(tokens, more)
        # As the role grid_bot writes it; a container's gateway is loopback here.
        rules = PageConfig(
            "127.0.0.1", 0, tokens_file=tokens, acting=True, hosts=("localhost", *names),
            act_from=("127.0.0.1/32",), trusted_proxies=("127.0.0.1/32",),
        )  # fmt: skip
        self.access, self.channel = Access(rules, time.monotonic), Channel(10)
        self.heard: list[dict[str, Any]] = []
        self.server = WebServer(self, "127.0.0.1", 0)
        threading.Thread(target=self.server.run, daemon=True).start()

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        self.heard.append(environ)
        if environ["PATH_INFO"] == "/events":
            start("200 OK", [("Content-Type", "text/event-stream")])
            return EventStream(self.channel, b"data: first\n\n")
        try:
            said = {"https": self.access.ask(environ, "act").https}
            status = "200 OK"
        except RefusedError as error:
            status, said = f"{error.code} no", {"detail": error.detail}
        body = json.dumps(said).encode()
        start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]


class Proxy:
    """nginx with the role's settings; ports and places are others."""

    def __init__(self, place: Path, **settings: Any) -> None:
        self.bot, self.port = Bot(place, NAMES), free_port()
        ports = {"https_proxy_port": self.port, "grid_bot_page_port": self.bot.server.port}
        assert render(place, **ports, **settings).returncode == 0
        told = files(place)
        (place / "certificate.cnf").write_text(
            told["/etc/gridberry/https/certificate.cnf"]["content"]
        )
        subprocess.run(OWN, check=True, capture_output=True, cwd=place)
        conf = told["/etc/gridberry/https/nginx.conf"]["content"]
        conf = conf.replace("/run/credentials/gridberry-https.service/server", f"{place}/own")
        (place / "nginx.conf").write_text(conf.replace("/run/gridberry-https", str(place)))
        command = [NGINX, "-e", "stderr", "-c", place / "nginx.conf"]
        self.log = (place / "log").open("w")
        self.process = subprocess.Popen(command, stderr=self.log)
        self.trust = ssl.create_default_context(cafile=str(place / "own.crt"))
        for _ in range(200):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, (place / "log").read_text()
            time.sleep(0.05)

    def connect(self) -> http.client.HTTPSConnection:
        """A connection of a browser that trusts the certificate."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trust, timeout=10)

    def ask(self, *, method: str = "GET", body: bytes | None = None, **headers: str) -> Any:
        """Status and body of an answer to who may act."""
        one = self.connect()
        token = {"Authorization": f"Bearer {self.bot.secret['act']}"}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        one.request(method, "/ask", body, token | names)
        answer = one.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        """Stop."""
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.bot.server.close()


EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "820")
FILES = ("-config", "certificate.cnf", "-keyout", "own.key", "-out", "own.crt")
OWN = ("openssl", "req", "-x509", *EC, *FILES)
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)
needs_nginx = pytest.mark.skipif(
    NGINX is None or shutil.which("openssl") is None, reason="nginx or openssl is not installed"
)


def test_this_is_how_the_role_makes_its_certificate():
    text = " ".join((ROOT / "roles/https_proxy/vars/main.yml").read_text().split())
    assert f"openssl req -x509 {' '.join(EC)}" in text


@needs_openssl
@pytest.mark.parametrize("wrong", ["", "another key", "a passphrase", "no certificate"])
def test_a_given_key_must_be_that_of_its_certificate(tmp_path, wrong):
    new = ("openssl", "req", "-x509", *EC, "-subj", "/CN=pi1", "-keyout", "a.key", "-out", "a.crt")
    subprocess.run(new, check=True, capture_output=True, cwd=tmp_path)
    certificate = (tmp_path / "a.crt").read_text()
    if wrong == "another key":
        subprocess.run(new, check=True, capture_output=True, cwd=tmp_path)
    if wrong == "a passphrase":
        lock = ("openssl", "pkey", "-in", "a.key", "-aes256", "-passout", "pass:x", "-out", "b.key")
        subprocess.run(lock, check=True, capture_output=True, cwd=tmp_path)
        (tmp_path / "b.key").replace(tmp_path / "a.key")
    if wrong == "no certificate":
        certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (tmp_path / "new").write_text(certificate + (tmp_path / "a.key").read_text())
    # As file_set does it, before it writes anything.
    words = [each.replace("%s", f"{tmp_path}/new") for each in shlex.split(known()["belong"])]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert (done.returncode == 0) == (not wrong)
    if wrong:
        assert done.stderr.splitlines()[-1].startswith("https_proxy_key is not the key of https_p")


@needs_openssl
def test_a_certificate_without_its_key_is_made_anew(tmp_path):
    assert render(tmp_path).returncode == 0
    (tmp_path / "certificate.cnf").write_text(
        files(tmp_path)["/etc/gridberry/https/certificate.cnf"]["content"]
    )
    probe = known()["lasts"].replace("{{ __https_proxy_place }}", str(tmp_path))

    def lasts() -> bool:
        return subprocess.run(["sh", "-c", probe], check=False, capture_output=True).returncode == 0

    assert not lasts()
    subprocess.run(OWN, check=True, capture_output=True, cwd=tmp_path)
    assert lasts()
    certificate = (tmp_path / "own.crt").read_bytes()
    subprocess.run(OWN, check=True, capture_output=True, cwd=tmp_path)
    (tmp_path / "own.crt").write_bytes(certificate)  # a power cut between the two
    assert not lasts()
    (tmp_path / "own.key").write_text("")
    assert not lasts()


@needs_openssl
def test_who_trusts_the_certificate_trusts_it_for_its_names_alone(tmp_path):
    assert render(tmp_path).returncode == 0
    (tmp_path / "certificate.cnf").write_text(
        files(tmp_path)["/etc/gridberry/https/certificate.cnf"]["content"]
    )
    subprocess.run(OWN, check=True, capture_output=True, cwd=tmp_path)

    def good_for(certificate: str, name: str) -> bool:
        kind = "-verify_ip" if name[0].isdigit() else "-verify_hostname"
        words = ("openssl", "verify", "-CAfile", "own.crt", kind, name, certificate)
        return subprocess.run(words, check=False, capture_output=True, cwd=tmp_path).returncode == 0

    assert [good_for("own.crt", name) for name in (*NAMES, "bank.example")] == [True, True, False]
    # Whoever has stolen the key makes certificates for others.
    signing = ("-CA", "own.crt", "-CAkey", "own.key", "-subj", "/CN=x", "-out", "x.crt")
    for name in ("pi1.local", "bank.example", "192.168.1.1", "2001:db8::1"):
        alternative = f"subjectAltName={'IP' if ':' in name or name[0].isdigit() else 'DNS'}:{name}"
        other = ("openssl", "req", "-x509", *EC, *signing, "-keyout", "x.key", "-addext")
        subprocess.run((*other, alternative), check=True, capture_output=True, cwd=tmp_path)
        assert good_for("x.crt", name) == (name == "pi1.local"), name


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    made = Proxy(tmp_path_factory.mktemp("https"))
    yield made
    made.close()


@needs_nginx
def test_a_browser_that_trusts_the_certificate_may_act(proxy):
    status, said = proxy.ask(Origin=f"https://127.0.0.1:{proxy.port}", method="POST", body=b"{}")
    assert (status, json.loads(said)) == (200, {"https": True})
    proxy.trust.wrap_socket(
        socket.create_connection(("127.0.0.1", proxy.port)), server_hostname="pi1.local"
    ).close()


@needs_nginx
def test_what_a_client_says_of_its_way_is_replaced(proxy):
    forged = {
        "X_Forwarded_Proto": "http", "X_Forwarded_For": "127.0.0.1", "Forwarded": "for=127.0.0.1",
        "X_Real_IP": "127.0.0.1", "X_Forwarded_Host": "localhost",
    }  # fmt: skip
    assert proxy.ask(**forged)[0] == 200
    heard = proxy.bot.heard[-1]
    seen = {k: v for k, v in heard.items() if "FORWARDED" in k or "REAL_IP" in k}
    assert seen == {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}


@needs_nginx
def test_plain_http_to_the_port_reaches_no_page(proxy):
    before = len(proxy.bot.heard)
    one = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    one.request("GET", "/ask", headers={"X-Forwarded-Proto": "https", "Host": "pi1.local"})
    answer = one.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, "https://pi1.local/ask")
    assert len(proxy.bot.heard) == before


@needs_nginx
def test_who_is_not_the_proxy_is_not_believed(proxy):
    # Another address of this computer stands for one of the network.
    one = http.client.HTTPConnection(
        "127.0.0.1", proxy.bot.server.port, timeout=10, source_address=("127.0.0.5", 0)
    )
    token = f"Bearer {proxy.bot.secret['act']}"
    forged = {"X-Forwarded-Proto": "https", "Authorization": token, "Host": "localhost"}
    one.request("GET", "/ask", headers=forged)
    answer = one.getresponse()
    assert answer.status == 403
    assert b"came over plain HTTP" in answer.read()


@needs_nginx
def test_events_come_at_once(proxy):
    one = proxy.connect()
    one.request("GET", "/events")
    answer = one.getresponse()
    assert answer.readline() == b"data: first\n"
    answer.readline()
    for number in range(3):
        proxy.bot.channel.publish(b"data: %d\n\n" % number)
        # A proxy that collects them would let this wait for its end.
        assert answer.readline() == b"data: %d\n" % number
        answer.readline()
    one.close()


@needs_nginx
def test_a_large_body_does_not_reach_the_page(proxy):
    before = len(proxy.bot.heard)
    assert proxy.ask(method="POST", body=b"x" * 70_000)[0] == 413
    assert len(proxy.bot.heard) == before


@needs_nginx
def test_networks_that_may_not_see_the_pages_do_not(tmp_path):
    made = Proxy(tmp_path, https_proxy_clients=["192.0.2.0/24"])
    try:
        assert made.ask()[0] == 403
        assert made.bot.heard == []
    finally:
        made.close()
