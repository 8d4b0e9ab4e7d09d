"""Ansible filters: time servers as chrony takes them, and what is wrong with settings and clock."""

from __future__ import annotations

import difflib
import re

DIRECTIVES = ("server", "pool")
ADDRESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")
# chrony.conf(5), "Time sources": what may follow the address, alone or with a value. No more than
# bookworm's chrony knows.
ALONE = {
    "auto_offline", "burst", "copy", "iburst", "noselect", "nts", "offline", "prefer", "require",
    "trust", "xleave",
}  # fmt: skip
WITH_VALUE = {
    "asymmetry", "certset", "extfield", "filter", "key", "maxdelay", "maxdelaydevratio",
    "maxdelayratio", "maxpoll", "maxsamples", "maxsources", "mindelay", "minpoll", "minsamples",
    "minstratum", "ntsport", "offset", "polltarget", "port", "presend", "version",
}  # fmt: skip
BOUNDS = {
    "time_sync_wait_seconds": (1, 3600),
    "time_sync_offset_ms": (1, 1000),
    "time_sync_check_seconds": (1, 3600),
}


def words_of(entry: str) -> list[str]:
    """Return an entry's words, C(server) before them where it leaves that out."""
    words = entry.split()
    return words if words and words[0] in DIRECTIVES else ["server", *words]


def sources(entries: list[str]) -> list[str]:
    """Return the lines of chrony.conf that name the servers, all with C(iburst)."""
    lines = [words_of(entry) for entry in entries]
    return [" ".join(line if "iburst" in line else [*line, "iburst"]) for line in lines]


def entry_problem(entry: str) -> str | None:
    """Return what is wrong with an entry of C(time_sync_servers), or None."""
    directive, *rest = words_of(entry)
    if "\n" in entry or not rest or not ADDRESS.fullmatch(rest[0]):
        return "use an address and options, as in '192.168.1.1' or 'time.lan port 11123'"
    options = iter(rest[1:])
    for option in options:
        if option in WITH_VALUE:
            value = next(options, None)
            if value is None or value in ALONE | WITH_VALUE:
                return f"{option} needs a value"
        elif option not in ALONE:
            close = difflib.get_close_matches(option, ALONE | WITH_VALUE, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            return f"chrony has no option {option} for a {directive}{hint}"
    return None


def setting_problems(settings: dict[str, object]) -> list[str]:
    """Return a line for each setting that is not allowed.

    Args:
        settings: C(time_sync_servers) and the numbers in BOUNDS, by their names.
    """
    entries = settings["time_sync_servers"]
    lines = [] if entries else ["time_sync_servers is empty; use at least one server"]
    for entry in entries:
        problem = entry_problem(str(entry))
        if problem:
            lines.append(f"time_sync_servers has {entry!r}; {problem}")
    for name, (low, high) in BOUNDS.items():
        if not low <= int(settings[name]) <= high:
            lines.append(f"{name} is {settings[name]}; use {low} to {high}")
    return lines


def clock_problem(seen: str, settings: dict) -> str:
    """Return why a clock does not count as synchronised, in one line; empty where it does.

    Args:
        seen: The output of the role's clock.sh.
        settings: C(servers), C(offset_ms), C(seconds).
    """
    lines = [line.partition(" ")[::2] for line in seen.splitlines()]
    found = dict(lines)
    if found.get("synchronised") != "no":
        return ""
    if "tracking" not in found:
        return f"chrony does not answer: {found.get('error') or 'journalctl -u chrony says why'}"
    known = [value.split(",") for word, value in lines if word == "source"]
    # The sixth field is a register of the last eight questions, the latest one's bit the lowest.
    answering = [fields for fields in known if len(fields) > 5 and fields[5] != "0"]
    if not answering:
        return (
            f"the clock is not synchronised after {settings['seconds']} s: no server answers of"
            f" time_sync_servers: {'; '.join(settings['servers'])}; name one that this host reaches"
        )
    names = ", ".join(fields[2] for fields in answering)
    off = abs(float(found["tracking"].split(",")[4])) * 1000
    return (
        f"the clock is not within {settings['offset_ms']} ms of {names} after"
        f" {settings['seconds']} s, it is off by {off:.0f} ms or they contradict each other; wait"
        " and run again, or raise time_sync_offset_ms or time_sync_check_seconds"
    )


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "time_sync_sources": sources,
            "time_sync_setting_problems": setting_problems,
            "time_sync_clock_problem": clock_problem,
        }
