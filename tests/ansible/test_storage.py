"""What role storage decides about drives and fstab, and what its scripts do with real files."""

import base64
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roles.storage.filter_plugins import storage

FILES = Path(__file__).resolve().parents[2] / "roles/storage/files"
UUID = "4604a5ec-4515-4704-b404-09830495ea5e"
FRESH = "11111111-2222-3333-4444-555555555555"
FSTAB = (
    "LABEL=rootfs  /  ext4  defaults,noatime  0  1\n"
    "LABEL=bootfs  /boot/firmware  vfat  defaults  0  2\n"
)
NODE = {"path": "/dev/nvme0n1", "type": "ext4", "label": "gridberry", "uuid": UUID}
WANTED = {
    "state": "present",
    "device": "auto",
    "required": False,
    "mount": "/mnt/data",
    "label": "gridberry",
    "erase_serial": "",
    "root_noatime": True,
    "trim": True,
    "tmp_size": "25%",
    "timeout": 30,
    "host": "pi5",
}


def disk(name, *, places=(), tran="nvme", serial="S1", children=(), kind="disk"):
    """A disk as lsblk has it."""
    return {
        "name": name,
        "path": f"/dev/{name}",
        "type": kind,
        "size": 512_000_000_000,
        "tran": tran,
        "serial": serial,
        "model": "Drive",
        "mountpoints": list(places) or [None],
        "children": list(children),
    }


CARD = disk(
    "mmcblk0",
    tran="mmc",
    serial="0xcard",
    children=[
        disk("mmcblk0p1", places=["/boot/firmware"], kind="part"),
        disk("mmcblk0p2", places=["/"], kind="part"),
    ],
)


def look(*disks, fstab=FSTAB, **more):
    """What look.sh prints; words of several lines are given as lists."""
    lines = [
        f"fresh {FRESH}",
        f"lsblk {json.dumps({'blockdevices': list(disks)})}",
        f"fstab {base64.b64encode(fstab.encode()).decode()}",
    ]
    for word, values in more.items():
        lines += [f"{word} {value}" for value in ([values] if isinstance(values, str) else values)]
    return "\n".join(lines)


def own(path="/dev/nvme0n1", kind="ext4"):
    """The lines about a file system with the role's label."""
    return [f"{path} TYPE {kind}", f"{path} LABEL gridberry", f"{path} UUID {UUID}"]


def plan(text, **more):
    """The plan with some settings."""
    return storage.storage_plan(text, WANTED | more)


class TestDrive:
    def test_blank_drive_is_formatted(self):
        made = plan(look(CARD, disk("nvme0n1"), blank="/dev/nvme0n1"))
        assert (made["kind"], made["action"], made["force"]) == ("drive", "format", False)
        assert made["node"] == NODE | {"uuid": FRESH}
        assert f"UUID={FRESH} /mnt/data ext4 " in made["fstab"]

    def test_own_label_is_taken_over(self):
        made = plan(look(CARD, disk("nvme0n1", places=["/mnt/data"]), probe=own(), mounted=UUID))
        assert (made["action"], made["node"], made["refuse"]) == ("adopt", NODE, "")

    def test_own_label_is_never_erased(self):
        made = plan(look(CARD, disk("nvme0n1"), probe=own()), erase_serial="S1")
        assert made["action"] == "adopt"

    def test_own_label_on_a_partition(self):
        part = disk("nvme0n1p1", kind="part")
        text = look(CARD, disk("nvme0n1", children=[part]), probe=own("/dev/nvme0n1p1", "xfs"))
        made = plan(text)
        assert made["node"]["path"] == "/dev/nvme0n1p1"
        assert "xfs defaults,noatime,nofail,x-systemd.device-timeout=30s 0 0" in made["fstab"]

    def test_foreign_drive_is_refused_with_what_would_do(self):
        text = look(
            *(CARD, disk("nvme0n1")),
            probe=["/dev/nvme0n1 TYPE ext4", "/dev/nvme0n1 LABEL photos"],
            holds="/dev/nvme0n1 ext4",
        )
        text += f"\nprobe /dev/nvme0n1 UUID {UUID}"
        made = plan(text, required=True)
        assert made["action"] == ""
        assert "holds ext4" in made["refuse"]
        first, last = made["refuse"].split(", or ")
        assert "storage_label: photos would take /dev/nvme0n1 as it is" in first
        assert last == "storage_erase_serial: 'S1', which erases it"
        assert made["fstab"] == FSTAB

    @pytest.mark.parametrize("given", ["s1", "S1 ", "S", "S11"])
    def test_serial_is_compared_exactly(self, given):
        text = look(CARD, disk("nvme0n1"), holds="/dev/nvme0n1 gpt")
        assert plan(text, erase_serial=given)["refuse"]

    def test_told_by_serial_it_is_formatted(self):
        text = look(CARD, disk("nvme0n1"), holds="/dev/nvme0n1 gpt")
        made = plan(text, erase_serial="S1")
        assert (made["action"], made["force"]) == ("format", True)

    def test_empty_serial_is_no_permission(self):
        text = look(CARD, disk("nvme0n1", serial=None), holds="/dev/nvme0n1 gpt")
        refused = plan(text, required=True)["refuse"]
        assert "it has no serial number" in refused
        assert "storage_erase_serial" not in refused

    @pytest.mark.parametrize(
        "used",
        [
            disk("nvme0n1", places=["/srv"]),
            disk("nvme0n1", places=["[SWAP]"]),
            disk("nvme0n1", children=[disk("md0", kind="raid1")]),
            disk("nvme0n1", children=[disk("vg-lv", kind="lvm")]),
            disk("nvme0n1", children=[disk("nvme0n1p1", kind="part", places=["/mnt/data"])]),
        ],
    )
    def test_drive_in_use_is_refused_even_by_serial(self, used):
        made = plan(look(CARD, used, holds="/dev/nvme0n1 x", note="S1"), erase_serial="S1")
        assert "is in use" in made["refuse"]
        assert made["action"] == ""

    @pytest.mark.parametrize("required", [True, False])
    def test_unknown_drive_that_need_not_be_is_left_alone(self, required):
        text = look(
            *(CARD, disk("nvme0n1")),
            probe=["/dev/nvme0n1 TYPE ext4", f"/dev/nvme0n1 UUID {UUID}"],
            holds="/dev/nvme0n1 ext4",
        )
        made = plan(text, required=required)
        line = made["refuse" if required else "say"]
        assert (made["action"], made["fstab"]) == ("", FSTAB)
        assert (bool(made["refuse"]), bool(made["say"])) == (required, not required)
        assert line.index("storage_label") < line.index("storage_erase_serial")
        assert made["kind"] == ("drive" if required else "none")

    @pytest.mark.parametrize("settings", [{"erase_serial": "S9"}, {"device": "/dev/nvme0n1"}])
    def test_unknown_drive_that_was_asked_for_is_refused(self, settings):
        text = look(CARD, disk("nvme0n1"), holds="/dev/nvme0n1 gpt")
        assert "holds gpt" in plan(text, **settings)["refuse"]

    def test_drive_mounted_elsewhere_is_left_alone(self):
        made = plan(look(CARD, disk("nvme0n1", places=["/srv"]), holds="/dev/nvme0n1 ext4"))
        assert (made["kind"], made["action"], made["refuse"]) == ("none", "", "")
        assert "is in use (/srv)" in made["say"]

    @pytest.mark.parametrize("spec", [f"UUID={UUID}", "PARTUUID=ab-01", "/dev/nvme0n1p1"])
    @pytest.mark.parametrize("settings", [{}, {"required": True}, {"erase_serial": "S1"}])
    def test_mounted_by_hand_is_taken_over_with_its_line(self, spec, settings):
        fstab = f"{FSTAB}{spec} /mnt/data ext4 defaults 0 2\n"
        part = disk("nvme0n1p1", kind="part", places=["/mnt/data"])
        whole = disk("nvme0n1", children=[part])
        probe = [f"/dev/nvme0n1p1 {what}" for what in ("TYPE ext4", f"UUID {UUID}")]
        probe.append("/dev/nvme0n1p1 PARTUUID ab-01")
        text = look(CARD, whole, fstab=fstab, probe=probe, mounted=UUID, holds="/dev/nvme0n1 gpt")
        made = plan(text, **settings)
        assert (made["kind"], made["action"], made["refuse"]) == ("drive", "adopt", "")
        assert made["node"]["uuid"] == UUID
        assert made["left"]
        assert (made["fstab"], made["fstab_changes"]) == (fstab, False)

    def test_mounted_by_hand_without_a_line_gets_one_and_keeps_it(self):
        probe = own()[::2]
        text = look(CARD, disk("nvme0n1", places=["/mnt/data"]), probe=probe, mounted=UUID)
        made = plan(text)
        assert (made["action"], made["left"]) == ("adopt", False)
        assert f"UUID={UUID} /mnt/data" in made["fstab"]
        for places, more in ((["/mnt/data"], {"mounted": UUID}), ([], {})):
            drive = disk("nvme0n1", places=places)
            then = plan(look(CARD, drive, fstab=made["fstab"], probe=probe, **more))
            assert (then["action"], then["left"], then["fstab_changes"]) == ("adopt", False, False)

    @pytest.mark.parametrize(
        ("more", "action"),
        [
            ({"blank": "/dev/nvme0n1"}, "format"),
            ({"holds": "/dev/nvme0n1 data without a known signature"}, "format"),
            ({"probe": own()}, "format"),
            ({"holds": "/dev/nvme0n1 gpt"}, ""),
            ({"holds": "/dev/nvme0n1 something that blkid cannot tell"}, ""),
        ],
    )
    def test_broken_off_formatting_goes_on_with_the_same(self, more, action):
        made = plan(look(CARD, disk("nvme0n1"), note=f"S1 {UUID}", **more))
        assert made["action"] == action
        assert made["node"].get("uuid") == (UUID if action else None)

    @pytest.mark.parametrize("label", ["gridberry", "photos"])
    def test_what_was_made_since_the_note_is_never_erased(self, label):
        probe = [f"/dev/nvme0n1 {what}" for what in ("TYPE ext4", f"UUID {UUID}", f"LABEL {label}")]
        text = look(
            *(CARD, disk("nvme0n1")),
            note=f"S1 {FRESH}",
            probe=probe,
            holds=[] if label == "gridberry" else "/dev/nvme0n1 ext4",
        )
        assert plan(text)["action"] == ("adopt" if label == "gridberry" else "")

    @pytest.mark.parametrize(
        ("more", "action"),
        [
            ({"blank": "/dev/nvme0n1"}, "format"),
            ({"holds": "/dev/nvme0n1 data without a known signature"}, ""),
            ({"probe": own()}, "adopt"),
        ],
    )
    def test_note_without_what_was_made_is_no_permission(self, more, action):
        assert plan(look(CARD, disk("nvme0n1"), note="S1", **more))["action"] == action

    @pytest.mark.parametrize(
        "more", [{"probe": own()}, {"holds": "/dev/nvme0n1 data without a known signature"}]
    )
    def test_note_is_no_permission_without_a_serial_number(self, more):
        text = look(CARD, disk("nvme0n1", serial=None), note=f"/dev/nvme0n1 {UUID}", **more)
        made = plan(text, required=True)
        assert made["action"] == ""
        assert "it has no serial number" in made["refuse"]

    def test_note_about_another_drive_is_no_permission(self):
        text = look(CARD, disk("nvme0n1"), probe=own()[:1], holds="/dev/nvme0n1 ext4")
        assert plan(f"{text}\nnote S2 {UUID}")["action"] == ""

    @pytest.mark.parametrize("spec", [f"UUID={UUID}", "LABEL=gridberry"])
    @pytest.mark.parametrize(
        "more",
        [{"blank": "/dev/nvme0n1"}, {"holds": "/dev/nvme0n1 data without a known signature"}],
    )
    def test_another_drive_does_not_stand_in_for_a_missing_one(self, spec, more):
        fstab = storage.with_data(FSTAB, NODE, "/mnt/data", 30).replace(f"UUID={UUID}", spec)
        made = plan(look(CARD, disk("nvme0n1", serial="S2"), fstab=fstab, **more))
        assert made["action"] == ""
        assert f"{spec}, which no drive shows now" in made["refuse"]
        assert "storage_device: /dev/nvme0n1 or storage_erase_serial: 'S2'" in made["refuse"]
        assert made["fstab"] == fstab

    @pytest.mark.parametrize("settings", [{"device": "/dev/nvme0n1"}, {"erase_serial": "S1"}])
    def test_another_drive_is_formatted_when_it_is_named(self, settings):
        fstab = storage.with_data(FSTAB, NODE, "/mnt/data", 30)
        text = look(CARD, disk("nvme0n1"), fstab=fstab, blank="/dev/nvme0n1")
        assert plan(text, **settings)["action"] == "format"

    def test_another_drive_with_the_label_is_taken_over(self):
        fstab = storage.with_data(FSTAB, NODE | {"uuid": FRESH}, "/mnt/data", 30)
        assert plan(look(CARD, disk("nvme0n1"), fstab=fstab, probe=own()))["action"] == "adopt"

    def test_mounted_file_system_with_a_note_is_kept(self):
        text = look(
            CARD,
            disk("nvme0n1", places=["/mnt/data"]),
            probe=own(),
            note=f"S1 {UUID}",
            mounted=UUID,
        )
        assert plan(text)["action"] == "adopt"

    def test_no_drive_goes_on(self):
        made = plan(look(CARD))
        assert (made["kind"], made["refuse"]) == ("none", "")
        assert "no NVMe drive" in made["say"]
        assert made["fstab"] == FSTAB

    def test_no_drive_where_one_is_required(self):
        assert "storage_required is true" in plan(look(CARD), required=True)["refuse"]

    @pytest.mark.parametrize(
        ("more", "hinted"),
        [
            ({}, False),
            ({"board": "Raspberry Pi 4 Model B Rev 1.4"}, False),
            ({"board": "Raspberry Pi 5 Model B Rev 1.0"}, True),
            ({"board": "Raspberry Pi 5 Model B Rev 1.0", "pcie": "disabled"}, True),
            ({"board": "Raspberry Pi 5 Model B Rev 1.0", "pcie": "okay"}, False),
            ({"board": "Raspberry Pi Compute Module 5 Rev 1.0", "pcie": "disabled"}, True),
        ],
    )
    @pytest.mark.parametrize("device", ["auto", "/dev/nvme0n1"])
    def test_no_drive_on_a_pi_5_may_need_a_setting(self, more, hinted, device):
        text = look(CARD, **more)
        lines = [
            plan(text, device=device)["say"],
            plan(text, device=device, required=True)["refuse"],
        ]
        hint = "harden.yml --tags boot_config --limit pi5"
        assert [hint in line for line in lines] == [hinted] * 2
        assert "boot_config" not in plan(text, device="/dev/sda", required=True)["refuse"]

    def test_dead_drive_keeps_its_line(self):
        fstab = storage.with_data(FSTAB, NODE, "/mnt/data", 30)
        made = plan(look(CARD, fstab=fstab))
        assert made["fstab"] == fstab

    @pytest.mark.parametrize("required", [True, False])
    def test_system_on_the_drive_is_recognised(self, required):
        root = disk("nvme0n1", children=[disk("nvme0n1p2", places=["/"], kind="part")])
        made = plan(look(root, probe=own()), required=required, erase_serial="S1")
        assert (made["kind"], made["action"], made["refuse"]) == ("root", "", "")

    def test_system_on_one_drive_data_on_the_other(self):
        root = disk("nvme0n1", children=[disk("nvme0n1p2", places=["/"], kind="part")])
        made = plan(look(root, disk("nvme1n1", serial="S2"), blank="/dev/nvme1n1"))
        assert (made["disk"], made["action"]) == ("/dev/nvme1n1", "format")

    def test_several_drives_want_a_name(self):
        two = (disk("nvme0n1"), disk("nvme1n1", serial="S2"))
        made = plan(look(CARD, *two, blank=["/dev/nvme0n1", "/dev/nvme1n1"]))
        assert "several NVMe drives" in made["refuse"]
        assert made["action"] == ""

    def test_of_several_drives_the_labelled_one(self):
        two = (disk("nvme0n1"), disk("nvme1n1", serial="S2"))
        made = plan(look(CARD, *two, probe=own("/dev/nvme1n1"), blank="/dev/nvme0n1"))
        assert (made["disk"], made["action"]) == ("/dev/nvme1n1", "adopt")

    def test_label_twice_is_refused(self):
        parts = [disk(f"nvme0n1p{number}", kind="part") for number in (1, 2)]
        probe = own("/dev/nvme0n1p1") + own("/dev/nvme0n1p2")
        assert "twice" in plan(look(CARD, disk("nvme0n1", children=parts), probe=probe))["refuse"]

    def test_card_as_the_drive_is_refused(self):
        made = plan(look(CARD, device="/dev/mmcblk0"), device="/dev/mmcblk0", erase_serial="0xcard")
        assert "the card that the system is on" in made["refuse"]

    def test_partition_as_the_drive_is_refused(self):
        text = look(
            CARD,
            disk("sda", tran="usb", children=[disk("sda1", kind="part")]),
            device="/dev/sda1",
        )
        assert "name that" in plan(text, device="/dev/sda1")["refuse"]

    def test_named_usb_drive(self):
        text = look(CARD, disk("sda", tran="usb"), device="/dev/sda", blank="/dev/sda")
        assert plan(text, device="/dev/disk/by-id/usb-x")["disk"] == "/dev/sda"

    def test_a_usb_stick_is_taken_only_if_named_and_then_told(self):
        stick = disk("sda", tran="usb") | {"rm": True, "disc-max": 1 << 30}
        assert plan(look(CARD, stick, blank="/dev/sda"))["kind"] == "none"
        made = plan(look(CARD, stick, device="/dev/sda", blank="/dev/sda"), device="/dev/sda")
        assert made["action"] == "format"
        assert "is a USB stick or a card reader: it wears out" in made["say"]

    @pytest.mark.parametrize(
        ("tran", "most", "trim", "told"),
        [
            ("usb", 0, True, True),
            ("usb", 1 << 30, True, False),
            ("usb", 0, False, False),
            ("nvme", 0, True, False),
        ],
    )
    def test_trim_that_does_nothing_is_told(self, tran, most, trim, told):
        drive = disk("sda", tran=tran) | {"rm": False, "disc-max": most}
        made = plan(
            look(CARD, drive, device="/dev/sda", probe=own("/dev/sda")),
            device="/dev/sda",
            trim=trim,
        )
        assert made["action"] == "adopt"
        assert ("TRIM does nothing on /dev/sda" in made["say"]) is told
        assert "wears out" not in made["say"]

    def test_something_else_mounted_there(self):
        made = plan(look(CARD, disk("nvme0n1"), probe=own(), mounted="other"))
        assert "something else" in made["refuse"]

    def test_files_that_a_mount_would_hide(self):
        made = plan(look(CARD, disk("nvme0n1"), probe=own(), underneath="books.db"))
        assert "files such as books.db" in made["refuse"]


class TestTmp:
    def test_bounded(self):
        assert plan(look(CARD))["tmp"]

    @pytest.mark.parametrize(
        ("more", "settings"),
        [
            ({"fstab": f"{FSTAB}tmpfs /tmp tmpfs size=50m 0 0\n"}, {}),
            ({"tmp": "/dev/null"}, {}),
            ({}, {"tmp_size": ""}),
        ],
    )
    def test_left_alone(self, more, settings):
        assert not plan(look(CARD, **more), **settings)["tmp"]


class TestFstab:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("/dev/sda1 / ext4 rw 0 1\n", "/dev/sda1 / ext4 rw,noatime 0 1\n"),
            ("UUID=1\t/\text4\tdefaults\t0\t1", "UUID=1\t/\text4\tdefaults,noatime\t0\t1"),
            ("a / ext4 relatime,discard 0 1\n", "a / ext4 discard,noatime 0 1\n"),
            ("a / ext4 noatime 0 1 # mine\n", "a / ext4 noatime 0 1 # mine\n"),
            ("# a / ext4 rw 0 1\n", "# a / ext4 rw 0 1\n"),
            ("overlay / overlay rw 0 0\n", "overlay / overlay rw 0 0\n"),
            ("a /home ext4 rw 0 1\n", "a /home ext4 rw 0 1\n"),
            ("ext4 / ext4 ext4 0 1\n", "ext4 / ext4 ext4,noatime 0 1\n"),
        ],
    )
    def test_noatime_edits_one_token(self, before, after):
        assert storage.with_noatime(before) == after
        assert storage.with_noatime(after) == after

    def test_data_line_once(self):
        once = storage.with_data(FSTAB, NODE, "/mnt/data", 30)
        assert once.startswith(FSTAB)
        assert storage.with_data(once, NODE, "/mnt/data", 30) == once
        assert storage.without_data(once) == FSTAB

    def test_line_of_another_drive_is_replaced(self):
        once = storage.with_data(FSTAB, NODE, "/mnt/data", 30)
        other = storage.with_data(once, NODE | {"uuid": FRESH}, "/mnt/data", 30)
        assert UUID not in other
        assert other.count(storage.MARKER) == 1

    def test_line_for_the_same_file_system_is_kept_for_the_undo(self):
        before = f"{FSTAB}LABEL=gridberry /mnt/data ext4 defaults 0 2\n# end\n"
        once = storage.with_data(before, NODE, "/mnt/data", 30)
        mounts = [line for line in once.splitlines() if storage.fields(line)[1:2] == ["/mnt/data"]]
        assert mounts == [f"UUID={UUID} /mnt/data ext4 {storage.options_of(30)} 0 2"]
        assert storage.with_data(once, NODE, "/mnt/data", 30) == once
        assert storage.without_data(once) == before

    def test_line_for_something_else_is_refused(self):
        with pytest.raises(storage.FstabError, match="mounts /dev/sdb1 at storage_mount"):
            storage.with_data(f"{FSTAB}/dev/sdb1 /mnt/data ext4 rw 0 2\n", NODE, "/mnt/data", 30)

    def test_undo_gives_the_original_back(self):
        before = "UUID=1 / ext4 rw,errors=remount-ro 0 1\n"
        after = storage.with_data(storage.with_noatime(before), NODE, "/mnt/data", 30)
        assert storage.with_original_root(storage.without_data(after), before) == before

    def test_undo_keeps_what_came_since(self):
        before = "UUID=1 / ext4 rw 0 1\n"
        after = storage.with_data(storage.with_noatime(before), NODE, "/mnt/data", 30)
        after += "nas:/x /media/nas nfs noauto 0 0\n"
        undone = storage.with_original_root(storage.without_data(after), before)
        assert undone == f"{before}nas:/x /media/nas nfs noauto 0 0\n"

    def test_not_text(self):
        text = look(CARD).replace(base64.b64encode(FSTAB.encode()).decode(), "//8=")
        assert "not UTF-8" in plan(text)["refuse"]

    def test_random_files_keep_every_other_line(self):
        chance = random.Random(4)  # noqa: S311 # to choose test cases
        pieces = [
            "LABEL=root / ext4 rw 0 1",
            "LABEL=root\t/\text4\tdefaults,relatime\t0 1  # x",
            "proc /proc proc defaults 0 0",
            "# a comment / ext4",
            "",
            "   ",
            "UUID=a /boot/firmware vfat defaults 0 2",
            "tmpfs /tmp tmpfs size=1G 0 0",
            "/var/swap none swap sw 0 0",
            "broken",
        ]
        for _ in range(300):
            lines = chance.choices(pieces, k=chance.randrange(9))
            text = "\n".join(lines) + chance.choice(["", "\n"]) if lines else ""
            made = storage.with_data(storage.with_noatime(text), NODE, "/mnt/data", 30)
            assert storage.with_data(storage.with_noatime(made), NODE, "/mnt/data", 30) == made
            kept = storage.without_data(made)
            assert len(kept.splitlines()) == len(text.splitlines())
            for old, new in zip(text.splitlines(), kept.splitlines(), strict=True):
                if storage.fields(old)[1:2] == ["/"]:
                    assert storage.fields(new)[:3] == storage.fields(old)[:3]
                else:
                    assert new == old


class TestSettings:
    def test_defaults_have_no_problem(self):
        assert storage.setting_problems(WANTED) == []

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("mount", "/"),
            ("mount", "data"),
            ("mount", "/usr"),
            ("mount", "/boot/data"),
            ("mount", "/mnt/my data"),
            ("mount", "/mnt/data;reboot"),
            ("label", "seventeen-letters"),
            ("label", ""),
            ("tmp_size", "100%"),
            ("tmp_size", "lots"),
            ("timeout", 0),
            ("device", "nvme0n1"),
            ("device", "/dev/nvme0n1; rm"),
        ],
    )
    def test_problem_names_setting_and_value(self, name, value):
        (line,) = storage.setting_problems(WANTED | {name: value})
        assert line.startswith(f"storage_{name} is {value!r}")


def smartctl(tmp_path, answer, status=0):
    """A smartctl that gives an answer; returns the environment to find it in."""
    program = tmp_path / "smartctl"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\nexit {status}\n")
    program.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}


def health(environment):
    """What storage-health prints of one drive."""
    command = [sys.executable, str(FILES / "storage-health"), "/dev/nvme0n1"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout


ANSWER = {
    "model_name": "Drive",
    "serial_number": "S1",
    "smart_status": {"passed": True},
    "temperature": {"current": 41},
    "power_on_time": {"hours": 7},
    "nvme_smart_health_information_log": {
        "critical_warning": 0,
        "percentage_used": 3,
        "available_spare": 100,
        "media_errors": 0,
        "unsafe_shutdowns": 5,
        "data_units_written": 2,
    },
}


class TestHealth:
    def test_healthy(self, tmp_path):
        said = health(smartctl(tmp_path, ANSWER))
        (one,) = json.loads(said)
        assert one["percentage_used"] == 3
        assert one["written_bytes"] == 1_024_000
        assert one["temperature_c"] == 41
        assert not one["failing"]
        assert storage.health_lines(said) == []

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"smart_status": {"passed": False}}, 0),
            ({"nvme_smart_health_information_log": {"critical_warning": 4}}, 0),
            ({}, 8),
        ],
    )
    def test_failing(self, tmp_path, change, status):
        said = health(smartctl(tmp_path, ANSWER | change, status))
        (line,) = storage.health_lines(said)
        assert line.startswith("/dev/nvme0n1 (Drive, serial S1) says that it is failing")

    def test_drive_without_smart_is_not_failing(self, tmp_path):
        answer = {"smartctl": {"messages": [{"string": "Unknown USB bridge"}]}}
        said = health(smartctl(tmp_path, answer, 1))
        (one,) = json.loads(said)
        assert (one["error"], one["failing"]) == ("Unknown USB bridge", False)


@pytest.mark.skipif(not shutil.which("findmnt"), reason="findmnt is not here")
class TestVerify:
    def verify(self, tmp_path, text):
        new = tmp_path / "fstab"
        new.write_text(text)
        command = ["sh", str(FILES / "verify.sh"), str(new), "/mnt/not-there"]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def present(self):
        path = Path("/etc/fstab")
        return path.read_text() if path.exists() else ""

    def test_line_for_data_before_its_directory_is_there(self, tmp_path):
        line = f"UUID={UUID} /mnt/not-there ext4 {storage.options_of(30)} 0 2\n"
        done = self.verify(tmp_path, self.present() + line)
        assert (done.returncode, done.stdout) == (0, "")

    @pytest.mark.parametrize("line", ["UUID=x /nowhere ext4 defaults 0 2\n", "UUID=x\n"])
    def test_line_that_findmnt_refuses(self, tmp_path, line):
        done = self.verify(tmp_path, self.present() + line)
        assert done.returncode == 1
        assert done.stdout


@pytest.fixture
def formatting(tmp_path):
    """Run format.sh against a drive that fixtures for the programs describe."""
    programs = tmp_path / "bin"
    programs.mkdir()
    answers = {
        "lsblk": (
            'case "$*" in *-dnro*TYPE*) echo "${KIND:-disk}";; *SERIAL*) echo "${SAYS:-S1}";;'
            ' *MOUNTPOINTS*) echo "$USED";; *PATH,TYPE*) echo "/dev/x disk";;'
            ' *) printf "disk\\n$BELOW\\n" | sed "/^$/d";; esac'
        ),
        "wipefs": 'case "$*" in *-n*) echo "$SIGNATURE";; esac',
        "blkid": 'case "$*" in *UUID*) echo "${THERE-$UUID}";; *) exit "${FOUND:-2}";; esac',
        "mkfs.ext4": 'cp "$NOTE" "$NOTE.seen"; exit "${BROKEN:-0}"',
        "sync": "",
        "blockdev": "",
        "udevadm": "",
    }
    for name, script in answers.items():
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"$LOG"\n{script}\n')
        (programs / name).chmod(0o755)
    note = tmp_path / "state/note"
    log = tmp_path / "log"

    def run(**more: str) -> subprocess.CompletedProcess:
        wanted = {"DEVICE": "/dev/x", "SERIAL": "S1", "IDENTITY": "S1", "FORCE": "no"}
        wanted |= {"LABEL": "gridberry", "UUID": UUID, "NOTE": str(note), "LOG": str(log)}
        log.write_text("")
        return subprocess.run(
            ["sh", str(FILES / "format.sh")],
            env={"PATH": f"{programs}:{os.environ['PATH']}", **wanted, **more},
            check=False,
            capture_output=True,
            text=True,
        )

    run.note = note
    run.log = log
    return run


class TestFormat:
    def made(self, run) -> bool:
        return "mkfs.ext4" in run.log.read_text()

    def test_blank_drive(self, formatting):
        done = formatting()
        assert done.returncode == 0, done.stderr
        assert f"mkfs.ext4 -q -F -m 1 -L gridberry -U {UUID} /dev/x" in formatting.log.read_text()
        assert formatting.note.with_name("note.seen").read_text() == f"S1 {UUID}\n"
        assert not formatting.note.exists()

    @pytest.mark.parametrize(
        ("state", "says"),
        [
            ({"KIND": "part"}, "is no disk"),
            ({"SAYS": "S2"}, "has another serial number than S1"),
            ({"USED": "/srv", "FORCE": "yes"}, "is in use"),
            ({"BELOW": "lvm", "FORCE": "yes"}, "is part of a volume or array"),
            ({"SIGNATURE": "ext4"}, "holds something"),
            ({"FOUND": "0"}, "holds something"),
            ({"FOUND": "8"}, "holds something"),
        ],
    )
    def test_what_has_changed_since_the_plan_stops_it(self, formatting, state, says):
        done = formatting(**state)
        assert done.returncode == 1
        assert done.stderr == f"/dev/x: {says}; not formatted\n"
        assert not self.made(formatting)
        assert not formatting.note.exists()

    def test_told_by_serial(self, formatting):
        assert formatting(SIGNATURE="ext4", FORCE="yes").returncode == 0
        assert "wipefs -q -a /dev/x" in formatting.log.read_text()

    def test_broken_off_leaves_its_note_and_begins_again(self, formatting):
        assert formatting(BROKEN="1").returncode != 0
        assert formatting.note.read_text() == f"S1 {UUID}\n"
        assert formatting(SIGNATURE="ext4").returncode == 0
        assert not formatting.note.exists()

    def test_note_of_another_drive_is_no_permission(self, formatting):
        formatting(BROKEN="1")
        formatting.note.write_text(f"S9 {UUID}\n")
        assert formatting(SIGNATURE="ext4").returncode == 1
        assert not self.made(formatting)

    @pytest.mark.parametrize(
        ("note", "state"),
        [
            (f"S1 {UUID}", {"THERE": FRESH}),
            (f"S1 {UUID}", {"THERE": ""}),
            (f"S1 {FRESH}", {"THERE": UUID}),
            ("S1", {"THERE": UUID}),
            (f"/dev/x {UUID}", {"THERE": UUID, "SERIAL": "", "SAYS": " ", "IDENTITY": "/dev/x"}),
        ],
    )
    def test_note_is_no_permission_for_what_it_does_not_name(self, formatting, note, state):
        formatting.note.parent.mkdir()
        formatting.note.write_text(f"{note}\n")
        done = formatting(SIGNATURE="ext4", **state)
        assert done.stderr == "/dev/x: holds something; not formatted\n"
        assert not self.made(formatting)


@pytest.fixture
def loop(tmp_path):
    """A block device of 16 MB, all zeros."""
    image = tmp_path / "drive"
    with image.open("wb") as stream:
        stream.truncate(16 * 2**20)
    made = subprocess.run(
        ["losetup", "--find", "--show", image], check=False, capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no block device can be made here: {made.stderr.strip()}")
    yield made.stdout.strip()
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("losetup"), reason="it needs root and losetup"
)
class TestContents:
    def contents(self, device: str) -> str:
        functions = (FILES / "look.sh").read_text().partition("\nread -r fresh")[0]
        done = subprocess.run(
            ["sh", "-c", f'{functions}\ncontents "$1"', "sh", device],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def test_zeros_are_blank(self, loop):
        assert self.contents(loop) == f"blank {loop}"

    @pytest.mark.parametrize(
        ("command", "what"),
        [
            (["mkfs.ext4", "-q", "-F"], "ext4"),
            (["mkswap", "-q"], "swap"),
        ],
    )
    def test_signature(self, loop, command, what):
        subprocess.run([*command, loop], check=True)
        assert self.contents(loop) == f"holds {loop} {what}"

    @pytest.mark.parametrize("place", [700, 2**20 - 1, 15 * 2**20 + 5, 16 * 2**20 - 1])
    def test_one_byte_at_either_end(self, loop, place):
        with Path(loop).open("r+b", buffering=0) as stream:
            stream.seek(place)
            stream.write(b"x")
        assert self.contents(loop) == f"holds {loop} data without a known signature"

    def test_what_is_left_of_a_wiped_file_system(self, loop):
        subprocess.run(["mkfs.ext4", "-q", "-F", loop], check=True)
        subprocess.run(["wipefs", "-q", "-a", loop], check=True)
        assert self.contents(loop).startswith(f"holds {loop}")
