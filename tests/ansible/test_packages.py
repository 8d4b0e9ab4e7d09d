"""What the shell of role packages tells about dpkg's database."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

LOOK = Path(__file__).resolve().parents[2] / "roles/packages/files/look.sh"
HOST = LOOK.parents[2] / "host"
STATUS = """\
Package: chrony
Status: install ok installed
Version: 1
Architecture: all
Maintainer: nobody
Description: here

Package: nftables
Status: install ok half-configured
Version: 1
Architecture: all
Maintainer: nobody
Description: half here
"""

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-query"), reason="dpkg is not here")


@pytest.fixture
def look(tmp_path):
    """Run the script on a database; returns its lines."""
    (tmp_path / "dpkg/updates").mkdir(parents=True)
    (tmp_path / "dpkg/info").mkdir()
    (tmp_path / "dpkg/info/format").write_text("1\n")
    (tmp_path / "dpkg/status").write_text(STATUS)
    (tmp_path / "lists").mkdir()

    def run(*packages: str) -> list[str]:
        roots = {"DPKG": "dpkg", "NOTES": "notes", "LISTS": "lists", "PYTHON": "python"}
        done = subprocess.run(
            ["sh", LOOK, *packages],
            env={"PATH": "/usr/bin:/bin"} | {name: tmp_path / path for name, path in roots.items()},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.splitlines()

    run.root = tmp_path
    return run


def test_all_there(look):
    assert look("chrony") == ["installed chrony"]


def test_missing_with_and_without_lists(look):
    lines = ["missing chrony-x", "interrupted nftables"]
    assert look("chrony-x") == lines
    (look.root / "lists/mirror_main_Packages").touch()
    assert look("chrony-x") == [*lines, "lists yes"]


def test_whether_ansible_can_ask_apt_is_told_where_something_is_missing(look):
    python = look.root / "python"
    python.write_text('#!/bin/sh\n[ "$*" = "-c import apt" ]\n')
    python.chmod(0o755)
    assert look("chrony-x")[-1] == "python-apt yes"
    assert look("chrony") == ["installed chrony"]
    python.write_text("#!/bin/sh\necho ModuleNotFoundError >&2\nexit 1\n")
    assert "python-apt yes" not in look("chrony-x")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["lists yes"], "would install chrony"),
        (["python-apt yes"], "would fetch apt's package lists and install chrony"),
        ([], "would fetch apt's package lists and install chrony"),
        (["lists yes", "python-apt yes"], ""),
    ],
)
def test_check_mode_says_in_words_what_apt_cannot_say(tmp_path, lines, says):
    """The role's own tasks, on a host where the look has said these lines."""
    role = LOOK.parents[1]
    [include] = [
        task
        for task in yaml.safe_load((role / "tasks/main.yml").read_text())
        if "ansible.builtin.include_tasks" in task
    ]
    tasks = yaml.safe_load((role / "tasks/change.yml").read_text())
    named = {task["name"]: task for task in tasks}
    # apt itself is not asked here: that it would be is what counts.
    install = named["Install the packages"]
    asked = {key: value for key, value in install.items() if key in ("name", "when")}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": include["vars"]
        | {"packages_present": ["chrony"], "packages_absent": []}
        | {"__packages_look": {"stdout_lines": ["missing chrony", *lines]}},
        "tasks": [
            asked | {"ansible.builtin.debug": {"msg": "apt is asked"}},
            named["Tell what would be installed"],
        ],
    }
    (tmp_path / "play.json").write_text(json.dumps([play]))
    settings = tmp_path / "ansible.cfg"
    settings.write_text("[defaults]\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local"),
            *("--check", tmp_path / "play.json"),
        ],
        # What is printed is read: in the form that it has without the project's settings.
        env=os.environ | {"ANSIBLE_NOCOLOR": "true", "ANSIBLE_CONFIG": os.fspath(settings)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert ("apt is asked" in done.stdout) is (not says)
    assert re.findall(r'"msg": "(would [^"]*)"', done.stdout) == [says] * bool(says)


def test_half_configured_is_not_installed(look):
    assert look("nftables") == ["missing nftables", "interrupted nftables"]


def test_a_power_cut_left_dpkg_in_the_middle(look):
    (look.root / "dpkg/updates/0001").write_text(STATUS.split("\n\n", maxsplit=1)[0] + "\n")
    assert "interrupted journal" in look("chrony")


def test_notes_are_told_once(look):
    (look.root / "notes").write_text("chrony\nchrony\n")
    assert look("chrony") == ["installed chrony", "noted chrony"]


FINISH = LOOK.with_name("finish.sh")
# Refused as often as `held` says, then done.
DPKG_STAND_IN = """\
#!/bin/sh
here=$(dirname "$0")
held=$(cat "$here/held")
if [ "$held" -gt 0 ]; then
    echo $((held - 1)) >"$here/held"
    case $LC_ALL in
        C | C.UTF-8) echo "dpkg: error: dpkg frontend lock was locked by another process" >&2 ;;
        *) echo "dpkg: Fehler: Die Sperre der Oberfläche gehört Prozess 7" >&2 ;;
    esac
    [ "$held" -gt 1 ] || [ ! -e "$here/ends" ] || rm -f "$here/../dpkg/updates/0001"
    exit 2
fi
rm -f "$here/../dpkg/updates/0001"
"""


@pytest.fixture
def finish(look):
    """Run the script after a cut; returns its status and what it printed."""
    root = look.root
    (root / "dpkg/status").write_text(STATUS.split("\n\n", maxsplit=1)[0] + "\n")
    (root / "dpkg/updates/0001").write_text("")
    (root / "bin").mkdir()
    for name, text in {
        "dpkg": DPKG_STAND_IN,
        "apt-get": "#!/bin/sh\n",
        "sleep": "#!/bin/sh\n",
    }.items():
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)

    def run(held: int, seconds: int = 60) -> tuple[int, str]:
        (root / "bin/held").write_text(f"{held}\n")
        done = subprocess.run(
            ["sh", FINISH],
            env={
                "PATH": f"{root}/bin:/usr/bin:/bin",
                "DPKG": root / "dpkg",
                "SECONDS_LEFT": str(seconds),
                "LANG": "de_DE.UTF-8",
                "LC_ALL": "de_DE.UTF-8",
            },
            check=False,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout.strip()

    run.root = root
    return run


def test_what_was_cut_is_finished(finish):
    assert finish(held=0) == (0, "finished")


def test_a_dpkg_at_work_is_given_its_time(finish):
    assert finish(held=3) == (0, "finished")


def test_one_that_ends_well_leaves_nothing_to_finish(finish):
    (finish.root / "bin/ends").touch()
    assert finish(held=2) == (0, "")


def test_one_that_never_ends_is_said(finish):
    status, said = finish(held=99, seconds=20)
    assert status == 1
    assert said.endswith("dpkg's lock for too long (packages_lock_timeout)")


REMOVE = LOOK.with_name("remove.sh")
# `auto` and `plain` are what would go, with and without what nothing needs any more.
APT_STAND_IN = """\
#!/bin/sh
here=$(dirname "$0")
case "$*" in
    "-s "*AutomaticRemove=true*) sed 's/.*/Remv & [1]/' "$here/auto" ;;
    "-s "*) sed 's/.*/Remv & [1]/' "$here/plain" ;;
    *)
        echo "$*" | sed 's/.* remove //' >>"$here/asked"
        [ ! -e "$here/broken" ] || { echo "E: Sub-process returned an error code" && exit 100; }
        ;;
esac
"""


@pytest.fixture
def remove(tmp_path):
    """Run the script; returns its status and lines."""
    program = tmp_path / "apt-get"
    program.write_text(APT_STAND_IN)
    program.chmod(0o755)
    (tmp_path / "notes").write_text("chrony\nlogrotate\ndependency libpopt0\ndependency tini\n")

    (tmp_path / "dpkg/info").mkdir(parents=True)
    (tmp_path / "dpkg/info/format").write_text("1\n")
    one, _, rest = STATUS.partition("\n\n")
    (tmp_path / "dpkg/status").write_text(
        f"{one}\n\n{one.replace('chrony', 'logrotate')}\n\n"
        f"{rest.replace('half-configured', 'config-files')}"
    )

    def run(names: str, auto: str, plain: str, mode: str = "change") -> tuple[int, list[str]]:
        for name, text in {"auto": auto, "plain": plain}.items():
            (tmp_path / name).write_text("".join(f"{word}\n" for word in text.split()))
        done = subprocess.run(
            ["sh", REMOVE],
            env={
                "PATH": f"{tmp_path}:/usr/bin:/bin",
                "NOTES": tmp_path / "notes",
                "DPKG": tmp_path / "dpkg",
                "NAMES": names,
                "MODE": mode,
                "SECONDS_LEFT": "60",
            },
            check=False,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout.splitlines()

    run.root = tmp_path
    return run


def test_what_came_along_goes_too_and_the_notes_with_it(remove):
    went = remove("logrotate", "logrotate libpopt0 orphan", "logrotate libpopt0")
    assert went == (0, ["removed logrotate", "removed libpopt0"])
    # The orphan was there before.
    assert (remove.root / "asked").read_text() == "logrotate libpopt0\n"
    assert (remove.root / "notes").read_text() == "chrony\ndependency tini\n"


def test_check_mode_only_tells(remove):
    went = remove("logrotate", "logrotate libpopt0", "logrotate libpopt0", mode="check")
    assert went == (0, ["removed logrotate", "removed libpopt0"])
    assert not (remove.root / "asked").exists()
    assert "logrotate" in (remove.root / "notes").read_text()


def test_no_package_of_others_is_taken_along(remove):
    status, (line,) = remove("chrony", "chrony mine", "chrony mine")
    assert status == 1
    assert line.startswith("problem chrony cannot be removed without mine, which Gridberry did not")
    assert not (remove.root / "asked").exists()


def test_what_is_gone_already_loses_its_note(remove):
    (remove.root / "notes").write_text("nftables\nunknown\ndependency tini\n")
    assert remove("nftables unknown", "tini", "tini") == (0, ["removed tini"])
    assert (remove.root / "asked").read_text() == "tini\n"
    assert not (remove.root / "notes").exists()


def test_what_is_not_noted_stays(remove):
    assert remove("nftables", "nftables", "nftables") == (0, [])
    assert remove("", "chrony", "chrony") == (0, [])
    assert not (remove.root / "asked").exists()


def test_the_last_note_takes_the_file_along(remove):
    (remove.root / "notes").write_text("chrony\nchrony\n")
    remove("chrony", "chrony", "chrony")
    assert not (remove.root / "notes").exists()


def test_a_removal_that_fails_keeps_the_notes(remove):
    (remove.root / "broken").touch()
    status, (line,) = remove("chrony", "chrony", "chrony")
    assert (status, line) == (
        1,
        "problem apt-get remove: E: Sub-process returned an error code",
    )
    assert "chrony" in (remove.root / "notes").read_text()


QUIET = LOOK.with_name("quiet.sh")


@pytest.fixture
def quiet(tmp_path):
    """Run the script for these services, of which `running` are active; then ask for one more."""
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(
        '#!/bin/sh\n[ "$3" = chrony.service ] && [ -e "$(dirname "$0")/active" ]\n'
    )
    systemctl.chmod(0o755)
    roots = {"RUN": tmp_path / "run", "RULES": tmp_path / "policy-rc.d"}
    path = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}

    def hold(services: str) -> None:
        subprocess.run(["sh", QUIET], env={"QUIET": services} | path | roots, check=True)

    def asked(*words: str) -> int:
        return subprocess.run([roots["RULES"], *words], env=path, check=False).returncode

    hold.root, hold.asked = tmp_path, asked
    return hold


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["chrony.service", "start"], 101),
        (["chrony", "start", "2"], 101),
        (["docker.socket", "restart"], 101),
        (["chrony.service", "stop"], 0),
        (["smartmontools.service", "start"], 0),
    ],
)
def test_only_what_is_not_configured_is_held_back(quiet, words, status):
    quiet("chrony docker containerd")
    assert quiet.asked(*words) == status


def test_what_runs_may_be_restarted(quiet):
    (quiet.root / "bin/active").touch()
    quiet("chrony docker")
    assert quiet.asked("chrony.service", "restart") == 0


def test_afterwards_nothing_is_left(quiet):
    quiet("chrony")
    quiet("")
    assert not (quiet.root / "policy-rc.d").exists()
    assert list((quiet.root / "run").iterdir()) == []


def test_a_power_cut_leaves_no_rule_in_force_and_the_next_run_makes_its_own(quiet):
    quiet("chrony")
    (quiet.root / "run/quiet").unlink()  # memory
    assert quiet.asked("chrony", "start") == 0
    quiet("docker")
    assert (quiet.asked("chrony", "start"), quiet.asked("docker", "start")) == (0, 101)


def test_nothing_is_executed_from_run_which_is_mounted_noexec(quiet):
    quiet("chrony")
    assert [path.name for path in (quiet.root / "run").iterdir()] == ["quiet"]
    assert not (quiet.root / "policy-rc.d").is_symlink()


def test_rules_of_somebody_else_stay(quiet):
    own = quiet.root / "policy-rc.d"
    own.write_text("#!/bin/sh\nexit 104\n")
    own.chmod(0o755)
    quiet("chrony")
    quiet("")
    assert quiet.asked("chrony", "start") == 104


def needs(values: dict, said: list[str], settings: dict, tmp_path: Path) -> str:
    """What role host asks role packages for, where the roles have noted this."""
    # Outside the role, where its path is not known.
    host = (HOST / "vars/main.yml").read_text().replace("role_path", repr(str(HOST)))
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": values
        | yaml.safe_load(host)
        | {"__preflight_look": {"stdout": "\n".join(said)}}
        | settings,
        "tasks": [
            {
                "ansible.builtin.debug": {
                    "msg": "{{ packages_present | join(' ') }};{{ packages_quiet | join(' ') }}"
                }
            }
            | {"vars": task["vars"]}
            for task in yaml.safe_load((HOST / "tasks/packages.yml").read_text())
            if "vars" in task
        ],
    }
    (tmp_path / "play.json").write_text(json.dumps([play]))
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local"),
            *("--skip-tags", "logs", tmp_path / "play.json"),
        ],
        env=os.environ
        | {"ANSIBLE_NOCOLOR": "true", "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    return re.findall(r'"msg": "(.*)"', done.stdout)[0]


def test_one_run_of_apt_brings_what_the_roles_of_this_run_need(tmp_path):
    noted = {
        "__time_sync_needs": {"packages": ["chrony"], "quiet": ["chrony"]},
        "__hardening_needs": {"packages": ["nftables", "apparmor"]},
        "__logs_needs": {"packages": ["logrotate"]},
        "__docker_needs": {"packages": ["docker.io"], "quiet": ["docker"]},
    }
    alone = needs(noted, ["fresh yes"], {}, tmp_path)
    assert alone == "chrony nftables apparmor;chrony"
    with_docker = needs(noted, ["fresh yes"], {"__host_beside": ["docker"]}, tmp_path)
    assert with_docker == "chrony nftables apparmor docker.io;chrony docker"


def test_each_role_that_is_asked_can_answer():
    able = {path.parts[-3] for path in HOST.parent.glob("*/tasks/needs.yml")}
    host = yaml.safe_load((HOST / "vars/main.yml").read_text())
    assert able - set(host["__host_roles"]) == {"docker"}
    for role in able:
        text = (HOST.parent / role / "tasks/needs.yml").read_text()
        assert f"__{role}_needs:" in text
        assert f"{role}_enabled | bool" in text
        assert f"{role}_state == 'present'" in text
