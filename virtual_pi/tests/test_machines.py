import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from virtual_pi import machines
from virtual_pi.errors import UsageError, VirtualPiError
from virtual_pi.image import Image
from virtual_pi.machines import CreateOptions, Machine, Settings, Status
from virtual_pi.processes import ProcessName, name_process

GONE = ProcessName(pid=1, start=1, boot="an earlier boot")


@pytest.fixture
def image(
    tmp_path: Path, boot_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Image:
    made = Image(tmp_path / "image")
    made.directory.mkdir()
    shutil.move(boot_image(), made.boot)
    monkeypatch.setattr(machines, "BOOT_BYTES", made.boot.stat().st_size)
    with made.root.open("wb") as file:
        file.truncate(1024**3)
    return made


def test_settings_survive_a_round_trip(machine: Machine) -> None:
    settings = machine.settings()
    assert Settings.from_json(settings.to_json()) == settings
    assert settings.forwards == {8080: 28080}


def test_status_survives_a_round_trip(machine: Machine) -> None:
    status = Status("bricked", "no root=", 3, None, name_process(os.getpid()))
    machine.write_status(status)
    assert machine.status() == status


def test_new_machine_is_off(machine: Machine) -> None:
    assert machine.status() == Status("off", "", 0, None, None)


def test_machine_whose_supervisor_is_gone_is_off(machine: Machine) -> None:
    machine.write_status(Status("running", "", 4, GONE, GONE))
    assert machine.status().state == "off"
    assert machine.status().reason == "the power was cut"
    assert machine.status().boots == 4


def test_running_machine_is_running(machine: Machine) -> None:
    status = Status("running", "", 1, name_process(os.getpid()), None)
    machine.write_status(status)
    assert machine.status() == status


def test_status_file_is_never_seen_half_written(machine: Machine) -> None:
    machine.write_status(Status())
    assert [path.name for path in machine.directory.iterdir() if "status" in path.name] == [
        "status.json"
    ]
    assert machine.status_file.stat().st_mode & 0o777 == 0o600


def test_list_is_what_an_inventory_needs(machine: Machine) -> None:
    [listed] = machines.list_machines(machine.state_dir)
    assert listed["name"] == "pi1"
    assert listed["state"] == "off"
    assert listed["ssh"] == {
        "host": "127.0.0.1",
        "port": 20022,
        "user": "trader",
        "key": str(machine.directory / "id_ed25519"),
        "known_hosts": str(machine.directory / "known_hosts"),
    }
    assert listed["forwards"] == {"8080": 28080}


def test_state_directory_that_does_not_exist_has_no_machines(tmp_path: Path) -> None:
    assert machines.list_machines(tmp_path / "nothing") == []


def test_unknown_machine_names_those_that_are(machine: Machine) -> None:
    with pytest.raises(VirtualPiError, match="no machine 'pi2'; there are: pi1"):
        machines.find_machine(machine.state_dir, "pi2")
    with pytest.raises(VirtualPiError, match=r"no machine '\.\./machines/pi1'"):
        machines.find_machine(machine.state_dir, "../machines/pi1")


@pytest.mark.parametrize("name", ["", "Pi1", "pi_1", "-pi", "pi-", "p" * 64, "../pi", "pi\n"])
def test_names_that_are_no_host_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="NAME is"):
        machines.check_options([name], CreateOptions())


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        (CreateOptions(memory_mib=511), "--memory is 511"),
        (CreateOptions(cpus=0), "--cpus is 0"),
        (CreateOptions(disk_bytes=1024**3), "--disk is"),
        (CreateOptions(forwards=(22,)), "--forward is 22"),
        (CreateOptions(forwards=(65536,)), "--forward is 65536"),
    ],
)
def test_impossible_settings_are_refused_by_name(options: CreateOptions, setting: str) -> None:
    with pytest.raises(UsageError, match=setting):
        machines.check_options(["pi1"], options)


def test_created_machine_has_its_own_identity_and_is_private(tmp_path: Path, image: Image) -> None:
    state = tmp_path / "my state, here"
    options = CreateOptions(forwards=(8080, 8080))
    one, two = (machines.create_machine(state, name, image, options) for name in ("pi1", "pi2"))
    assert one.directory.stat().st_mode & 0o777 == 0o700
    assert one.ssh_key.stat().st_mode & 0o777 == 0o600
    for path in ("id_ed25519", "ssh_host_ed25519_key"):
        assert (one.directory / path).read_bytes() != (two.directory / path).read_bytes()
    host_key = one.host_key.with_suffix(".pub").read_text()
    assert one.known_hosts.read_text() == f"[127.0.0.1]:{one.settings().ssh_port} {host_key}"
    ports = [
        port
        for machine in (one, two)
        for port in (machine.settings().ssh_port, machine.settings().forwards[8080])
    ]
    assert len(set(ports)) == 4
    assert one.settings().mac != two.settings().mac
    assert [machine["name"] for machine in machines.list_machines(state)] == ["pi1", "pi2"]


def test_existing_machine_is_not_overwritten(tmp_path: Path, image: Image) -> None:
    machine = machines.create_machine(tmp_path / "state", "pi1", image, CreateOptions())
    before = machine.settings_file.read_text()
    with pytest.raises(VirtualPiError, match="already is a machine 'pi1'"):
        machines.create_machine(tmp_path / "state", "pi1", image, CreateOptions())
    assert machine.settings_file.read_text() == before


def test_interrupted_create_is_no_machine_and_is_replaced(tmp_path: Path, image: Image) -> None:
    half = Machine(tmp_path / "state", "pi1")
    half.directory.mkdir(parents=True)
    half.ssh_key.write_text("half a key")
    assert machines.list_machines(tmp_path / "state") == []
    machines.create_machine(tmp_path / "state", "pi1", image, CreateOptions())
    assert half.ssh_key.read_text() != "half a key"


def test_no_nvme_means_no_drive(tmp_path: Path, image: Image) -> None:
    machine = machines.create_machine(
        tmp_path / "state", "pi1", image, CreateOptions(nvme_bytes=None)
    )
    assert not machine.settings().nvme
    assert not machine.nvme_disk.exists()


def test_removed_machine_leaves_nothing(tmp_path: Path, image: Image) -> None:
    machine = machines.create_machine(tmp_path / "state", "pi1", image, CreateOptions())
    machines.remove_files(machine)
    assert not machine.directory.exists()
    assert machines.list_machines(tmp_path / "state") == []


def test_ssh_takes_known_hosts_from_a_path_with_spaces_and_percent_signs(
    tmp_path: Path, machine: Machine
) -> None:
    moved = Machine(tmp_path / "100% mine", "pi1")
    moved.directory.parent.mkdir(parents=True)
    machine.directory.rename(moved.directory)
    command = machines.ssh_command(moved)
    option = next(part for part in command if part.startswith("UserKnownHostsFile"))
    assert option == f'UserKnownHostsFile="{tmp_path}/100%% mine/machines/pi1/known_hosts"'
    assert "StrictHostKeyChecking=yes" in command


def test_a_copy_gets_ports_of_its_own(tmp_path: Path, image: Image) -> None:
    original = machines.create_machine(tmp_path, "pi1", image, CreateOptions(forwards=(8080,)))
    before = original.settings()
    ports = machines.change_ports(original, [before.ssh_port, before.forwards[8080]])
    after = original.settings()
    assert ports == [after.ssh_port, after.forwards[8080]]
    assert not {before.ssh_port, before.forwards[8080]} & set(ports)
    assert original.known_hosts.read_text().startswith(f"[127.0.0.1]:{after.ssh_port} ssh-ed25519 ")
    assert replace(after, ssh_port=before.ssh_port, forwards=before.forwards) == before
