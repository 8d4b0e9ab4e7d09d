"""The first boot without a machine: its waiting, its stages, its settings, the seed's place."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest

from benchmarks.first_boot import FirstBoot, orders_open, run_stages, settings_of_emulated, wait_for
from benchmarks.home_network import home_network
from fleet.card.cloud_init import META_DATA, NETWORK, USER_DATA
from fleet.card.place import CardImage, open_place
from fleet.card.prepare import TRIXIE, release_of
from virtual_pi import card
from virtual_pi.errors import VirtualPiError
from virtual_pi.image import Image, run


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_what_is_waited_for_is_asked_for_until_it_is_there() -> None:
    answers, clock = iter([None, None, "10.0.2.15"]), Clock()
    found = wait_for("find", lambda: next(answers), 60, clock=clock, sleep=clock.sleep)
    assert (found, clock.now) == ("10.0.2.15", 10)


def test_what_does_not_come_is_named_with_its_time() -> None:
    clock = Clock()
    with pytest.raises(VirtualPiError, match=r"^find: not within 60 s$"):
        wait_for("find", lambda: None, 60, clock=clock, sleep=clock.sleep)
    assert clock.now == 60


def test_the_stages_lead_from_the_image_file_to_the_page(tmp_path: Path) -> None:
    boot = FirstBoot(tmp_path, "lan", "lan-t", "pi1", "owner")
    assert [name for name, _ in boot.stages] == [
        "image file", "prepare", "found", "first login", "seed checked", "new", "deploy",
        "status", "open",
    ]  # fmt: skip


def test_after_a_stage_that_failed_none_begins() -> None:
    said: list[str] = []

    def fail() -> None:
        raise VirtualPiError("no answer")

    stages = (("one", lambda: None), ("two", fail), ("three", lambda: said.append("ran")))
    with pytest.raises(VirtualPiError, match=r"^two: no answer$"):
        run_stages(stages, said.append)
    assert len(said) == 1
    assert said[0].startswith("one: ")


def test_the_page_stays_on_the_pi_and_the_key_is_the_users(tmp_path: Path) -> None:
    virtual = {"grid_bot_page_address": "0.0.0.0", "grid_bot_base": "debian"}
    found = settings_of_emulated(virtual, tmp_path, 21_001)
    assert "grid_bot_page_address" not in found
    assert found["grid_bot_base"] == "debian"
    assert found["time_sync_servers"] == ["10.0.2.2 port 21001"]
    assert f"UserKnownHostsFile={tmp_path}/known_hosts" in shlex.split(
        found["ansible_ssh_common_args"]
    )


def test_orders_are_counted_over_all_grids() -> None:
    grids = [{"open_orders": 12}, {"open_orders": None}, {"open_orders": 3}]
    assert orders_open([{"bot": {"grids": grids}}, {"bot": None}, {}]) == 15


def test_a_card_has_the_seeds_place_where_prepare_looks_for_it(tmp_path: Path) -> None:
    if not all(map(shutil.which, ("mkfs.vfat", "mcopy"))):
        pytest.skip("dosfstools and mtools are not here")
    made, size = Image(tmp_path), 64 * card.MIB
    run("mkfs.vfat", "-C", "-F", "32", "-n", "bootfs", str(made.boot), str(size // 1024))
    CardImage(made.boot, 0).write({name: text.encode() for name, text in card.SEED.items()})
    made.root.write_bytes(b"root" * card.MIB)
    file = tmp_path / "card.img"
    card.write_card(made, file)
    place = open_place(file)
    assert isinstance(place, CardImage)
    assert place.offset == card.BOOT_START
    assert set(card.SEED) == {USER_DATA, META_DATA, NETWORK}
    assert release_of(place, place.names()) == TRIXIE
    parts = Image(tmp_path / "parts")
    parts.directory.mkdir()
    card.read_card(file, parts, size)
    assert parts.boot.read_bytes() == made.boot.read_bytes()
    assert parts.root.read_bytes() == made.root.read_bytes()


def test_the_network_is_gone_afterwards() -> None:
    name = f"gbt{os.getpid()}"
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("only root can make a network namespace, with iproute2")
    try:
        with home_network(name) as tap:
            there = run("ip", "netns", "exec", name, "cat", "/etc/resolv.conf")
            assert there == "nameserver 10.0.2.3\n"
            bridged = run("ip", "-o", "link", "show", "master", f"{name}-b")
            assert {f"{tap}:", f"{tap}r:", f"{name}-h@if2:"} <= set(bridged.split())
    except VirtualPiError as error:
        pytest.skip(f"no network can be made here: {error}")
    assert name not in run("ip", "-o", "link", "show") + run("ip", "netns", "list")
    assert not Path("/etc/netns", name).exists()
