"""The configuration: each mistake is one line that names the setting and what is allowed."""

import pytest
from gridbase.errors import UserError
from hub.archive.place import Place
from hub.cli import main
from hub.config import Archive, load

DATABASE = '[database]\nhost = "127.0.0.1"\nuser = "reader"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[databse]", r"\[databse\] is unknown: did you mean database\?"),
        ('[database]\nhost = "db"', "database.user is missing"),
        (DATABASE + "prot = 1", r"database.prot is unknown: did you mean database.port\?"),
        (DATABASE + 'port = "5432"', "database.port = '5432' needs a whole number from 1 to 65535"),
        (DATABASE.replace("127.0.0.1", "pi2"), "is another machine: database.ca_file needs"),
        ('[server]\nhost = "0.0.0.0"', "server.tokens_file needs a file"),
        ('[archive]\nplace = "/a"\nkey_file = "/k"', "key_file and archive.secret_file need"),
        ('[archive]\nplace = "/a"\nafter_days = 1', "a whole number from 7 to 36500"),
        ("database = 1", "database needs to be a section"),
        ("[[server.live]]\nname = 1", "server.live.name = 1 needs text in quotes"),
        ('[[server.programs]]\nname = "a"\nkind = "bot"', '"recorder" or "watcher"'),
        ('[[server.programs]]\nname = "a"\nkind = "watcher"', "'a' needs either url, where"),
        ("[server]\nprograms = 1", r"needs to be a list of sections: \[\[server.programs\]\]"),
        ('[bot]\nmode = "test"', 'bot.mode = \'test\' needs "paper" or "live"'),
        ("[", "--config"),
    ],
)
def test_mistakes(tmp_path, text, line):
    path = tmp_path / "hub.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=line) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_command_says_which_section_it_needs(tmp_path, capsys):
    (tmp_path / "hub.toml").write_text("")
    for command in ("collect", "serve", "archive", "migrate", "keep"):
        assert main([command, "--config", str(tmp_path / "hub.toml")]) == 2
        assert "is missing: this command needs that section" in capsys.readouterr().err


def test_tokens_are_created_shown_once_and_revoked(tmp_path, capsys):
    config = tmp_path / "hub.toml"
    config.write_text(f'[server]\ntokens_file = "{tmp_path}/tokens"\n')

    def run(*words):
        status = main(["tokens", *words, "--config", str(config)])
        return status, capsys.readouterr().out

    status, secret = run("create", "phone")
    assert (status, secret.startswith("gridberry_")) == (0, True)
    assert secret.strip() not in (tmp_path / "tokens").read_text()
    assert run("list")[1].startswith("phone read")
    assert run("revoke", "phone")[0] == 0
    assert run("list") == (0, "")


def test_a_lost_key_of_the_archive_is_one_line(tmp_path):
    (tmp_path / "key").write_text("AKIA\n")
    (tmp_path / "key").chmod(0o600)
    settings = Archive("s3://b/p", 90, None, "r", tmp_path / "key", tmp_path / "gone")
    with pytest.raises(UserError, match=r"^archive.secret_file = .*/gone: No such file") as caught:
        Place(settings)
    assert "\n" not in str(caught.value)
