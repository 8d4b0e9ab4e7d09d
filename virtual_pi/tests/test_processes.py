import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from virtual_pi.processes import is_alive, kill, name_process


def test_own_process_is_alive() -> None:
    name = name_process(os.getpid())
    assert name is not None
    assert is_alive(name)


def test_no_process_is_not_alive() -> None:
    assert not is_alive(None)
    assert not kill(None)


def test_recycled_process_id_is_neither_alive_nor_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = name_process(process.pid)
        assert name is not None
        for other in (replace(name, start=name.start - 1), replace(name, boot="another boot")):
            assert not is_alive(other)
            assert not kill(other)
        assert process.poll() is None
        assert kill(name)
        assert process.wait() == -signal.SIGKILL
    assert not is_alive(name)
    assert not kill(name)


def test_program_name_with_brackets_and_spaces_is_understood(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        name = name_process(process.pid)
        assert name is not None
        assert name.start > 0
        assert kill(name)


def test_zombie_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert name_process(process.pid) is None


def test_a_process_lives_until_its_last_thread_has_ended() -> None:
    # Of a killed QEMU the first thread may end before those that still hold its ports.
    code = """
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
print(flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stat = Path(f"/proc/{process.pid}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            pass
        name = name_process(process.pid)
        alive = is_alive(name)
        process.kill()
        process.wait()
    assert alive
    assert not is_alive(name)
