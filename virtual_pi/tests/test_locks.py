"""Locks between invocations."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from virtual_pi.locks import locked


def test_the_second_waits_and_says_what_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "build.lock"
    order: list[str] = []

    def second() -> None:
        with locked(lock):
            order.append("second")

    with locked(lock):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.3)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
    assert str(lock) in capsys.readouterr().err


def test_nobody_waits_for_a_free_lock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(tmp_path / "deep" / "build.lock"):
        pass
    assert capsys.readouterr().err == ""
