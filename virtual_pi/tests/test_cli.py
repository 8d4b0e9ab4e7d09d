import json
import socket
from pathlib import Path

import pytest

from virtual_pi import cli, lifecycle
from virtual_pi.errors import VirtualPiError
from virtual_pi.machines import Machine, Status


@pytest.fixture
def state(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRIDBERRY_STATE", str(machine.state_dir))
    return machine.state_dir


@pytest.mark.usefixtures("state")
def test_list_json_is_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--json"]) == 0
    [listed] = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["state"], listed["boots"]) == ("pi1", "off", 0)


def test_list_says_why_a_machine_is_bricked(
    state: Path, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert state == machine.state_dir
    machine.write_status(Status("bricked", "cmdline.txt has no root=", 2))
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    assert "bricked" in out
    assert "cmdline.txt has no root=" in out


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["start", "pi9"], 1, "there is no machine 'pi9'; there are: pi1"),
        (["start"], 2, "which machine?"),
        (["stop", "--all", "pi1"], 2, "not both"),
        (["ssh", "pi1"], 1, "pi1 is off: start it first"),
        (["console", "pi1"], 1, "has not been started yet"),
        (["create", "pi1"], 1, "there already is a machine 'pi1'"),
        (["create", "Pi"], 2, "NAME is 'Pi'"),
        (["create", "pi2", "--memory", "64"], 2, "--memory is 64"),
        (["clean-cache"], 1, "remove pi1 first"),
        (["base-image", "/no/such/dir/x.tar"], 2, "/no/such/dir does not exist"),
    ],
)
def test_mistakes_give_one_line(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == status
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    "arguments",
    [[], ["frob"], ["create"], ["create", "x", "--disk", "12"], ["image", "--release", "woody"]],
)
def test_wrong_use_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = "image create start stop cut list ssh console remove clean-cache base-image"
    for verb in verbs.split():
        with pytest.raises(SystemExit) as ended:
            cli.main([verb, "--help"])
        assert ended.value.code == 0
        assert "usage: virtual_pi" in capsys.readouterr().out


@pytest.mark.usefixtures("state")
def test_cut_and_stop_of_a_machine_that_is_off_do_no_harm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["cut", "--all"]) == 0
    assert cli.main(["stop", "--all"]) == 0
    assert capsys.readouterr().out == "pi1 was off\npi1 is off\n"


@pytest.mark.usefixtures("state")
def test_port_that_another_program_uses_is_named(machine: Machine) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", machine.settings().ssh_port))
        other.listen()
        with pytest.raises(VirtualPiError, match=r"port 20022 of 127\.0\.0\.1, which is pi1's"):
            lifecycle.start(machine)


def test_failed_boot_shows_the_console(machine: Machine) -> None:
    machine.console.write_text("".join(f"line {number}\n" for number in range(100)))
    machine.write_status(Status("bricked", "cmdline.txt has no root=", 1))
    with pytest.raises(VirtualPiError) as raised:
        lifecycle.wait_for_ssh([machine])
    text = str(raised.value)
    assert "pi1 is bricked: cmdline.txt has no root=" in text
    assert str(machine.console) in text
    assert "line 99" in text
    assert "line 1\n" not in text
