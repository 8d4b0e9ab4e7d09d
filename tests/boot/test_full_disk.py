"""A boot partition that fills in mid-write: a real file system, too small, in a namespace."""

import json
import subprocess
import sys
from pathlib import Path

PAGE = 4096  # what a tmpfs hands out
OLD_PAGES = 2  # the two boot files
# A note, two originals and the new cmdline.txt; the new config.txt has two.
NEW_PAGES = 6
RUN = """
import json, subprocess, sys
from pathlib import Path
import tests.boot.conftest
from ansible.module_utils.boot_text import BootFileError
from roles.boot_config.library import boot_files
from tests.boot.test_generated import contents, parameters

boot, room = Path(sys.argv[1]), int(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room},huge=never", "none", boot], check=True)
(boot / "cmdline.txt").write_bytes(b"console=tty1 root=PARTUUID=4e639091-02 rootwait\\n")
(boot / "config.txt").write_bytes(b"auto_initramfs=1\\n")
before = contents(boot)
lines = {"config_lines": [f"# {number}: {'.' * 60}" for number in range(70)]}
try:
    boot_files.run(parameters(boot) | lines, check_mode=False)
    said = ""
except (BootFileError, OSError) as error:
    said = boot_files.refusal(error)
print(json.dumps([said, contents(boot) == before, sorted(contents(boot))]))
"""


def fill(boot: Path, room: int) -> tuple[str, bool, list[str]]:
    """Change the boot files of a file system of some bytes: what was said, and what is there."""
    command = ["unshare", "--map-root-user", "--mount", sys.executable, "-c", RUN]
    done = subprocess.run([*command, boot, str(room)], check=True, capture_output=True, text=True)
    said, same, names = json.loads(done.stdout)
    return said, same, names


def test_whichever_file_does_not_fit_nothing_is_changed_and_nothing_is_left(tmp_path):
    boot = tmp_path / "boot"
    boot.mkdir()
    refused = []
    for pages in range(NEW_PAGES):
        said, same, names = fill(boot, (OLD_PAGES + pages) * PAGE)
        assert same, (pages, names)
        assert said.endswith(
            "cannot be read or written (No space left on device); it was left as it was"
        )
        refused.append(Path(said.split()[0]).name)
    # The last one is in the middle of the file.
    assert refused[-2:] == ["config.txt", "config.txt"]
    assert len(set(refused)) == NEW_PAGES - 1
    said, same, names = fill(boot, (OLD_PAGES + NEW_PAGES) * PAGE)
    assert (said, same) == ("", False)
    assert not [name for name in names if "gridberry-new" in name]
