#!/usr/bin/python3 -IS
"""Sends what Alertmanager cannot: the daily summary, and that the monitoring server is silent.

    messages.py summary    asks the server for the last day, and sends it
    messages.py watch      asks it whether its alert Watchdog fires; sends once when it does not
                           any more, and once when it does again

Settings and secrets are in the credentials that systemd hands over: in no argument.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import smtplib
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any, NamedTuple

CREDENTIALS = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/etc/gridberry/monitoring"))
STATE = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/gridberry-watch"))
SILENT_SECONDS = float(os.environ.get("SILENT_SECONDS", "300"))
TIMEOUT = 15  # seconds
LONGEST = 1900  # characters
LONGEST_MESSAGE = 2000  # with what makes markup plain, Discord
LONGEST_CAPTION = 1000  # of a file; Telegram takes 1,024
# urllib has these until the last byte is sent: nothing can have been taken.
NOT_SENT = (urllib.error.URLError, ValueError, InvalidURL)
SMTP_ANSWERS = (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused)

# What the summary says of each bot. Paper and live are never added up.
OF_BOT = "* on (host) group_left (mode) max by (host, mode) (gridbot_build_info)"
DAY = {
    "profit": f"sum by (host, mode, coin) (delta(gridbot_grid_profit[1d]) {OF_BOT})",
    "fills": f"sum by (host, mode) (increase(gridbot_fills_total[1d]) {OF_BOT})",
}
OF_FLEET = {
    "hosts": "count(gridberry_expected_host)",
    "seen": 'count(present_over_time(up{job="node"}[5m]))',
    "alerts": 'count(ALERTS{alertstate="firing",alertname!="Watchdog"})',
}


class MessageError(Exception):
    """What went wrong, in one line that names no secret.

    Args:
        text: The line.
        unknown: Whether the message may have been taken all the same.
    """

    def __init__(self, text: str, *, unknown: bool = False) -> None:
        super().__init__(text)
        self.unknown = unknown


class Page(NamedTuple):
    """A page that goes with a text.

    Attributes:
        name: Of its file.
        html: Its content.
        key: The same whenever the same page is sent, and of no other.
    """

    name: str
    html: str
    key: str


def request(url: str, body: bytes, headers: dict[str, str]) -> None:
    """Send a POST request.

    Raises:
        MessageError: It was not taken. The address is not named: it is a secret.
    """
    asked = urllib.request.Request(url, body, headers)  # noqa: S310 -- the settings say http
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT):  # noqa: S310
            pass
    except urllib.error.HTTPError as error:
        # A proxy in between answers 502 or 504 also for what went through.
        raise MessageError(f"it answers {error.code}", unknown=error.code >= 500) from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise MessageError(str(reason), unknown=not isinstance(error, NOT_SENT)) from None


def as_json(url: str, document: dict[str, Any]) -> None:
    """Send a POST request with JSON."""
    request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})


def as_form(url: str, fields: dict[str, str], file: str, page: Page) -> None:
    """Send a POST request with a form: its fields, and a page as a file."""
    mark = f"gridberry-{secrets.token_hex(16)}"
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{mark}\r\nContent-Disposition: form-data; name="{file}"; filename="{page.name}"\r\n'
        f"Content-Type: text/html; charset=utf-8\r\n\r\n{page.html}\r\n--{mark}--\r\n"
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}"}
    request(url, "".join(parts).encode(), headers)


def by_discord(told: dict[str, Any], text: str, page: Page | None) -> None:
    """Send to a Discord channel; nobody is called, and nothing is markup."""
    plain = "".join(f"\\{one}" if one in "\\*_~`|>#[]()<" else one for one in text)
    document = {"content": plain[:LONGEST_MESSAGE], "allowed_mentions": {"parse": []}}
    if page is None:
        as_json(told["discord_url"], document)
    else:
        as_form(told["discord_url"], {"payload_json": json.dumps(document)}, "files[0]", page)


def by_ntfy(told: dict[str, Any], text: str, page: Page | None) -> None:
    """Send to an ntfy topic; where its server takes no files, the text alone."""
    token = told["ntfy_token"]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if page is not None:
        # ntfy reads a file's text from a header, where a line's end is written as two characters.
        line = base64.b64encode(text.replace("\n", "\\n").encode()).decode()
        named = {"Filename": page.name, "Message": f"=?UTF-8?B?{line}?="}
        try:
            request(told["ntfy_url"], page.html.encode(), headers | named)
        except MessageError as error:
            if error.unknown:
                raise
        else:
            return
    request(told["ntfy_url"], text.encode(), headers)


def by_telegram(told: dict[str, Any], text: str, page: Page | None) -> None:
    """Send by a Telegram bot; without a parse mode nothing is markup."""
    url = f"{told.get('telegram_api', 'https://api.telegram.org')}/bot{told['telegram_token']}"
    if page is None:
        as_json(f"{url}/sendMessage", {"chat_id": told["telegram_chat"], "text": text})
    else:
        fields = {"chat_id": told["telegram_chat"], "caption": text[:LONGEST_CAPTION]}
        as_form(f"{url}/sendDocument", fields, "document", page)


def by_webhook(told: dict[str, Any], text: str, page: Page | None) -> None:
    """Send as JSON."""
    more = {} if page is None else {"key": page.key, "name": page.name, "html": page.html}
    as_json(told["webhook_url"], {"text": text, **more})


def by_email(told: dict[str, Any], text: str, page: Page | None) -> None:
    """Send an e-mail, encrypted where the server can."""
    email = told["email"]
    message = EmailMessage()
    message["From"], message["To"] = email["from"], email["to"]
    message["Subject"] = text.splitlines()[0]
    message.set_content(text)
    if page is not None:
        # A server that gets the same message again knows it by this.
        message["Message-ID"] = f"<{page.key}@gridberry.invalid>"
        message.add_alternative(page.html, subtype="html")
        message.add_attachment(page.html, subtype="html", filename=page.name)
    host, _, port = email["server"].rpartition(":")
    state = "before"
    try:
        with smtplib.SMTP(host, int(port), timeout=TIMEOUT) as server:
            if server.has_extn("starttls") or email["user"]:
                server.starttls(context=ssl.create_default_context())
            if email["user"]:
                server.login(email["user"], email["password"])
            state = "sending"
            server.send_message(message)
            state = "taken"
    except (OSError, smtplib.SMTPException) as error:
        answered = isinstance(error, SMTP_ANSWERS)
        if state != "taken":
            unknown = state == "sending" and not answered
            raise MessageError(type(error).__name__, unknown=unknown) from None


Channel = Callable[[dict[str, Any], str, Page | None], None]
CHANNELS: dict[str, tuple[str, Channel]] = {
    "discord": ("discord_url", by_discord),
    "ntfy": ("ntfy_url", by_ntfy),
    "telegram": ("telegram_token", by_telegram),
    "webhook": ("webhook_url", by_webhook),
}


def channels(told: dict[str, Any]) -> dict[str, Channel]:
    """Return the channels that are set, by their names."""
    found = {name: way for name, (key, way) in CHANNELS.items() if told[key]}
    return found | ({"email": by_email} if told["email"]["to"] else {})


def send(told: dict[str, Any], text: str) -> None:
    """Send a text to every channel that is set.

    Raises:
        MessageError: None of them took it.
    """
    failed, unknown, there = [], False, channels(told)
    for name, way in there.items():
        try:
            way(told, text[:LONGEST], None)
        except MessageError as error:
            failed.append(f"{name}: {error}")
            unknown = unknown or error.unknown
            sys.stderr.write(f"{failed[-1]}\n")
    if len(failed) == len(there):
        raise MessageError("no channel took the message", unknown=unknown)


class Server:
    """The monitoring server, asked with the token that only reads."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._url: str = told["server"]
        self._token = (CREDENTIALS / "read.token").read_text(encoding="utf-8").strip()
        self._context = ssl.create_default_context(cafile=os.fspath(CREDENTIALS / "ca.crt"))
        # The certificate has a name of its own, and is the only one that is trusted.
        self._context.check_hostname = False

    def get(self, path: str, **query: str) -> Any:
        """Return what the server answers.

        Raises:
            OSError: It does not answer.
            ValueError: It answers with something else.
        """
        url = f"{self._url}{path}?{urllib.parse.urlencode(query)}"
        headers = {"Authorization": f"Bearer {self._token}"}
        asked = urllib.request.Request(url, headers=headers)  # noqa: S310 -- the settings say https
        answer = urllib.request.urlopen(asked, timeout=TIMEOUT, context=self._context)  # noqa: S310
        with answer:
            return json.load(answer)

    def query(self, expression: str, **at: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series that an expression gives.

        Args:
            expression: MetricsQL.
            at: `time`, where it is not now (Unix time).
        """
        found = self.get("/api/v1/query", query=expression, **at)["data"]["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def alerting_works(self) -> bool:
        """Tell whether the alert that always fires does."""
        try:
            groups = self.get("/api/v2/alerts/groups", filter='alertname="Watchdog"')
            alerts = [one for group in groups for one in group["alerts"]]
            return any(one["status"]["state"] == "active" for one in alerts)
        except (OSError, HTTPException, ValueError, KeyError, TypeError):
            return False


def summary(told: dict[str, Any]) -> None:
    """Send what the last day was: a line for the fleet, and one for each bot.

    Raises:
        MessageError: It cannot be made, or was certainly not taken: systemd tries again.
    """
    server = Server(told)
    try:
        fleet = {name: server.query(asked) for name, asked in OF_FLEET.items()}
        day = {name: server.query(asked) for name, asked in DAY.items()}
    except (OSError, HTTPException, ValueError, KeyError) as error:
        raise MessageError(f"the server does not answer: {error}") from None
    hosts, seen, alerts = (int(fleet[name][0][1]) if fleet[name] else 0 for name in OF_FLEET)
    lines = [f"Gridberry, the last day: {seen} of {hosts} hosts, {alerts} alerts"]
    fills = {(one.get("host"), one.get("mode")): value for one, value in day["fills"]}
    for one, profit in sorted(day["profit"], key=lambda pair: sorted(pair[0].items())):
        host, mode = one.get("host"), one.get("mode")
        filled = fills.get((host, mode), 0)
        lines.append(f"{host} ({mode}): {profit:+.2f} {one.get('coin')}, {filled:.0f} fills")
    try:
        send(told, "\n".join(lines))
    except MessageError as error:
        if not error.unknown:
            raise
        sys.stderr.write("the summary may have come, so it is not sent again\n")


def watch(told: dict[str, Any]) -> None:
    """Send once when alerting has been silent for a while, and once when it works again."""
    note, now = STATE / "watch.json", time.time()
    try:
        state = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        state = {"heard": now, "told": False}
    works, name = Server(told).alerting_works(), told["watched"]
    heard = now if works else min(state["heard"], now)  # a clock that was fast is right again
    silent = now - heard > SILENT_SECONDS
    new = {"heard": heard, "told": state["told"]}
    if works and state["told"]:
        send(told, f"🟢 Recovered: MonitoringSilent: the server {name} alerts again.")
        new["told"] = False
    elif not works and silent and not state["told"]:
        minutes = int((now - heard) // 60)
        send(
            told,
            f"🔴 MonitoringSilent: the monitoring server {name} has not answered for {minutes} "
            "minutes.\nWhat it means: nobody would tell you of other faults now. The bots trade on."
            f"\nWhat to do: look at {name}: power, network, ./gridberry status."
            "\nMore: docs/runbooks/monitoring-silent.md",
        )
        new["told"] = True
    temporary = note.with_suffix(".new")
    temporary.write_text(json.dumps(new), encoding="utf-8")
    temporary.replace(note)


def main(words: list[str]) -> int:
    """Do what the argument says; returns the exit status."""
    verbs = {"summary": summary, "watch": watch}
    if len(words) != 1 or words[0] not in verbs:
        sys.stderr.write("use summary or watch\n")
        return 2
    try:
        told = json.loads((CREDENTIALS / "messages.json").read_text(encoding="utf-8"))
        verbs[words[0]](told)
    except (MessageError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
