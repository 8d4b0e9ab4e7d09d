"""A judge and a bot that follows it, each a process of its own."""

from .conftest import free_port, wait_for

TOKEN = "a-secret-of-the-account"
SILENT = "the account's judge has been silent for more than 120 s"


def write(bench, name: str, **settings: object) -> None:
    """Write the file of a bot with this name, and its part in the guard of the account."""
    lines = [f"{key} = {value}" for key, value in settings.items()]
    text = bench.config.read_text().partition("\n[account_guard]")[0]
    text = text.replace('"pi1"', f'"{name}"').replace("/bot", f"/{name}")
    guard = ["[account_guard]", f'token_file = "{bench.directory}/token"', *lines]
    (bench.directory / name).mkdir(exist_ok=True)
    (bench.directory / f"{name}.toml").write_text("\n".join([text, *guard]) + "\n")


def test_the_verdict_of_the_judge_ends_the_grid_of_another_bot(bench):
    (bench.directory / "token").touch(mode=0o600)
    (bench.directory / "token").write_text(TOKEN)
    port = free_port()
    bench.start_exchange()
    write(bench, "pi2", role='"follower"', url=f'"http://127.0.0.1:{port}"')
    bench.start("pi2", "gridbot", "run", "--config", bench.directory / "pi2.toml")
    wait_for(lambda: SILENT in bench.status().get("health", {}).get("reasons", ()))
    limit = {"start_equity": '"1000000"', "loss_limit": '"500"'}
    write(bench, "judge", role='"judge"', host='"127.0.0.1"', port=port, **limit)
    judge = bench.directory / "judge.toml"
    judge.write_text(
        judge.read_text().replace(f"port = {bench.page_port}", f"port = {free_port()}")
    )
    bench.start("judge", "gridbot", "run", "--config", judge)
    wait_for(lambda: bench.status().get("state") == "halted")
    assert bench.status()["halt"]["text"] == "the loss limit of the whole account is passed"
    assert "the account is worth" in bench.log("judge")
    for name in ("pi2", "judge"):
        assert TOKEN not in bench.log(name)
