"""300 generated boot files: valid afterwards or refused, applied once, undone byte for byte.

The checks share no code with the role: they have their own idea of tokens and filters, and ask the
virtual Pi's firmware whether it would start the result.
"""

import collections
import os
from pathlib import Path

import pytest
from ansible.module_utils.boot_text import BootFileError

from roles.boot_config.library import boot_files
from tests.boot.inputs import CMDLINES, CONFIGS, COUNT, Pair, pairs
from virtual_pi.firmware import kernel_command_line

WANTED = ["cgroup_enable=memory", "ipv6.disable=1"]
UNWANTED = "cgroup_disable=memory"
LINES = ["gpu_mem=32", "[pi5]", "dtparam=fan_temp0=45000", "[pi4]", "arm_freq=2000"]
OURS = {
    "pi4": ["gpu_mem=32", "arm_freq=2000"],
    "pi5": ["gpu_mem=32", "dtparam=fan_temp0=45000"],
    "cm4": ["gpu_mem=32", "arm_freq=2000"],
}
SEES = {"pi4": {"all", "pi4"}, "pi5": {"all", "pi5"}, "cm4": {"all", "pi4", "cm4"}}


def parameters(boot: Path, state: str = "present") -> dict:
    """The module's parameters for a directory that stands for the boot partition."""
    return {
        "state": state,
        "cmdline_present": WANTED[:1],
        "cmdline_replace": WANTED[1:],
        "cmdline_absent": [UNWANTED],
        "config_lines": LINES,
        "tryboot": False,
        "directories": [str(boot)],
        "running_cmdline": "/dev/null",
        "generator": str(boot / "none"),
        "defaults": str(boot / "none"),
        "bootloader": str(boot / "none"),
        "watchdog": str(boot / "none"),
        "mark": str(boot.with_name(f"{boot.name}-run") / "boot-files-changed"),
        "pcie_gen3_boot": False,
        "block_devices": "/sys/dev/block",
        "in_force": False,
    }


def put(boot: Path, pair: Pair) -> None:
    """Write the two files."""
    (boot / "cmdline.txt").write_bytes(pair.cmdline)
    if pair.config is not None:
        (boot / "config.txt").write_bytes(pair.config)


def contents(boot: Path) -> dict[str, bytes]:
    """Every file with its content."""
    return {path.name: path.read_bytes() for path in boot.iterdir()}


def tokens(content: bytes) -> list[bytes]:
    """A command line's tokens, one character at a time."""
    found, word, quoted = [], b"", False
    for number in content:
        byte = bytes([number])
        quoted ^= byte == b'"'
        if byte in b" \t\r\n\v\f" and not quoted:
            found += [word] if word else []
            word = b""
        else:
            word += byte
    return found + ([word] if word else [])


def is_foreign(token: bytes) -> bool:
    """Tell whether the role may not touch a token."""
    return token != UNWANTED.encode() and not token.startswith(b"ipv6.disable=")


def settings(content: bytes, board: str) -> list[str]:
    """The settings of a config.txt that a board takes, in order."""
    filters = {"": "all"}
    taken = []
    for raw in content.decode(errors="replace").replace("\r\n", "\n").split("\n"):
        text = raw.strip()
        if text.startswith("["):
            name = text.strip("[]").lower()
            filters = {"": "all"} if name == "all" else filters | {name.partition("=")[1]: name}
        elif text and not text.startswith("#") and set(filters.values()) <= SEES[board]:
            taken.append(text)
    return taken


def check_cmdline(before: bytes, after: bytes) -> None:
    """One line, that the firmware starts, with every foreign token and what was asked for."""
    assert not set(b"\r\n\0") & set(after.rstrip(b" \r\n"))
    held = tokens(after)
    assert [token for token in held if is_foreign(token) and token != WANTED[0].encode()] == [
        token for token in tokens(before) if is_foreign(token) and token != WANTED[0].encode()
    ]
    assert UNWANTED.encode() not in held
    assert WANTED[0].encode() in held
    assert {token for token in held if token.startswith(b"ipv6.disable=")} == {b"ipv6.disable=1"}
    assert len([token for token in held if token.startswith(b"root=")]) == 1
    # The virtual firmware takes plain characters only; a Pi's does not mind others.
    plain = after.replace(b"\t", b" ").rstrip()
    plain = bytes(byte if 32 <= byte < 127 else ord("_") for byte in plain)
    assert "cgroup_disable=memory" not in kernel_command_line(plain)


def check_valid(boot: Path, pair: Pair) -> None:
    """What must hold of a pair that was taken."""
    before = contents(boot)
    promised = boot_files.run(parameters(boot), check_mode=True)
    assert contents(boot) == before
    done = boot_files.run(parameters(boot), check_mode=False)
    assert (done["changed"], done["diff"]) == (promised["changed"], promised["diff"])
    after = contents(boot)
    check_cmdline(pair.cmdline, after["cmdline.txt"])
    for board, ours in OURS.items():
        assert settings(after["config.txt"], board) == settings(pair.config or b"", board) + ours
        # The block leaves what comes after it to all boards.
        assert settings(after["config.txt"] + b"later=1\n", board)[-1] == "later=1"
    assert not boot_files.run(parameters(boot), check_mode=False)["changed"]
    assert contents(boot) == after
    assert boot_files.run(parameters(boot, "absent"), check_mode=False)["changed"]
    assert contents(boot) == before


def test_generated_files_are_taken_or_refused(tmp_path, capsys):
    counts = collections.Counter()
    seen = set()
    for number, pair in enumerate(pairs()):
        boot = tmp_path / str(number)
        boot.mkdir()
        put(boot, pair)
        before = contents(boot)
        verdict = "valid"
        try:
            boot_files.run(parameters(boot), check_mode=True)
        except BootFileError as error:
            verdict = "refused"
            said = boot_files.refusal(error)
            assert contents(boot) == before, pair.kinds
            assert said.endswith("; nothing was changed")
            assert "\n" not in said
            assert "cmdline.txt" in said or "config.txt" in said, said
            with pytest.raises(BootFileError):
                boot_files.run(parameters(boot), check_mode=False)
            assert contents(boot) == before, pair.kinds
        assert verdict == ("refused" if pair.refused else "valid"), pair
        if verdict == "valid":
            check_valid(boot, pair)
        counts[verdict] += 1
        seen.update(enumerate(pair.kinds))
    assert counts.total() == COUNT
    assert seen == {(0, kind) for kind in CMDLINES} | {(1, kind) for kind in CONFIGS}
    assert min(counts.values()) >= 100
    with capsys.disabled():
        print(f"\n{COUNT} generated boot files: {counts['valid']} valid, applied once and undone")
        print(f"byte for byte; {counts['refused']} refused with a line, and left alone")


@pytest.fixture
def read_only(tmp_path):
    """A boot directory that cannot be written to, even by these tests."""
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "cmdline.txt").write_text("root=/dev/a rootwait\n")
    (boot / "config.txt").write_text("a=1\n")
    boot.chmod(0o555)
    user = os.geteuid()
    for parent in [path for path in boot.parents if path.stat().st_uid == user]:
        if user == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    if user == 0:
        os.seteuid(65534)
    yield boot
    os.seteuid(user)
    boot.chmod(0o755)


def test_a_partition_that_is_read_only_is_refused_with_a_line(read_only):
    before = contents(read_only)
    with pytest.raises(OSError, match="denied") as caught:
        boot_files.run(parameters(read_only), check_mode=False)
    assert contents(read_only) == before
    said = boot_files.refusal(caught.value)
    assert said.startswith(f"{read_only}/cmdline.txt")
    assert "cannot be read or written" in said
