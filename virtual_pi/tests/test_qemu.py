import base64
import json
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from virtual_pi import qemu
from virtual_pi.firmware import Boot
from virtual_pi.machines import Machine
from virtual_pi.paths import socket_directory

BOOT = Boot("kernel8.img", "initramfs8", "cgroup_disable=memory root=LABEL=rootfs")


@pytest.fixture
def command(machine: Machine) -> list[str]:
    return qemu.command_line(machine, BOOT, Path("/k, ernel"), Path("/i"))


def value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_kernel_gets_the_firmware_command_line(command: list[str]) -> None:
    assert value(command, "-append") == BOOT.cmdline
    assert value(command, "-kernel") == "/k, ernel"
    assert value(command, "-initrd") == "/i"


def test_machine_ends_at_resets_and_its_watchdog_resets(command: list[str]) -> None:
    assert "-no-reboot" in command
    assert value(command, "-action") == "watchdog=reset"
    assert "i6300esb" in command


def test_commas_in_paths_are_doubled(command: list[str], machine: Machine) -> None:
    assert "," in str(machine.directory)
    doubled = str(machine.directory).replace(",", ",,")
    drives = [part for part in command if part.startswith("if=none")]
    assert len(drives) == 3
    assert all(f"file={doubled}/" in drive for drive in drives)


def test_a_boot_partition_that_is_recorded_goes_through_the_log(machine: Machine) -> None:
    settings = replace(machine.settings(), record_boot=True)
    machine.settings_file.write_text(settings.to_json())
    command = qemu.command_line(machine, BOOT, Path("/kernel"), None)
    drive = value(command, "-blockdev")
    assert drive.startswith("driver=blklogwrites,node-name=boot,")
    assert str(machine.boot_disk).replace(",", ",,") in drive
    assert str(machine.boot_log).replace(",", ",,") in drive
    assert "virtio-blk-pci,drive=boot" in command
    assert not any("id=boot" in part for part in command)


def test_a_tap_is_on_the_machines_network_and_its_card_says_who_it_is(machine: Machine) -> None:
    settings = replace(machine.settings(), tap="lan-t")
    machine.settings_file.write_text(settings.to_json())
    command = qemu.command_line(machine, BOOT, Path("/kernel"), None)
    parts = [command[at + 1] for at, word in enumerate(command) if word == "-netdev"]
    assert parts[0].startswith("user,id=router,")
    assert parts[1:] == [
        "tap,id=net,ifname=lan-t,script=no,downscript=no",
        "tap,id=tap,ifname=lan-tr,script=no,downscript=no",
        "hubport,id=hub-router,hubid=0,netdev=router",
        "hubport,id=hub-tap,hubid=0,netdev=tap",
    ]
    assert "-fw_cfg" not in command


def test_forwards_lead_from_loopback_only(command: list[str]) -> None:
    assert value(command, "-netdev").endswith(
        ",hostfwd=tcp:127.0.0.1:20022-:22,hostfwd=tcp:127.0.0.1:28080-:8080"
    )


def test_kvm_only_on_arm64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: True)
    monkeypatch.setattr(qemu, "debian_architecture", lambda: "amd64")
    assert qemu.accelerator() == ["-accel", "tcg,thread=multi", "-cpu", "cortex-a76"]
    monkeypatch.setattr(qemu, "debian_architecture", lambda: "arm64")
    assert qemu.accelerator() == ["-accel", "kvm", "-cpu", "host"]
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "tcg,thread=multi" in qemu.accelerator()


def test_secrets_are_not_on_the_command_line(machine: Machine, command: list[str]) -> None:
    for path, content in ((machine.host_key, "a secret"), (machine.ssh_key, "another")):
        path.write_text(content)
        path.with_suffix(".pub").write_text(f"public {path.name}")
    rules = qemu.identity_rules(machine)
    fields = [line.split() for line in rules.splitlines()]
    contents = {line[1]: base64.b64decode(line[-1]).decode() for line in fields if line[0] == "f~"}
    assert contents["/etc/hostname"] == "pi1\n"
    assert contents["/etc/ssh/ssh_host_ed25519_key"] == "a secret"
    assert contents["/home/trader/.ssh/authorized_keys"] == "public id_ed25519"
    assert "another" not in rules
    assert "a secret" not in " ".join(command)


def test_socket_paths_are_short_however_deep_the_checkout(tmp_path: Path) -> None:
    machine = Machine(tmp_path / ("deep" * 50), "p" * 63)
    assert len(str(machine.control)) < 108
    other = Machine(tmp_path / "other", machine.name)
    assert socket_directory(other.state_dir) != socket_directory(machine.state_dir)


def serve(path: Path, answers: list[dict[str, object]]) -> threading.Thread:
    """Play QEMU: greet, then one answer after each line received; what is left at the end."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        connection = listener.accept()[0]
        with listener, connection, connection.makefile("rwb") as stream:
            for answer in answers:
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()
                if "return" in answer or "QMP" in answer:
                    stream.readline()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_monitor_tells_why_the_guest_ended(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    events: list[dict[str, object]] = [
        {"event": "WATCHDOG", "data": {"action": "reset"}},
        {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-reset"}},
    ]
    server = serve(path, [{"QMP": {}}, {"return": {}}, {"return": {}}, *events])
    monitor = qemu.Monitor(path)
    monitor.execute("system_powerdown")
    monitor._socket.sendall(b"\n")  # the played QEMU waits for a line after each answer
    seen = [(event["event"], event["data"].get("reason")) for event in monitor.events()]
    monitor.close()
    server.join()
    assert seen == [("WATCHDOG", None), ("SHUTDOWN", "guest-reset")]


def test_monitor_refusal_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    server = serve(path, [{"QMP": {}}, {"error": {"desc": "no such command"}}])
    with pytest.raises(OSError, match="no such command"):
        qemu.Monitor(path)
    server.join()
