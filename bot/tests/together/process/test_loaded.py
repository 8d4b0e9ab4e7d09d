"""What a running bot has loaded, as the kernel maps it into its memory."""

from pathlib import Path

from .conftest import wait_for


def mapped(process, package):
    """Whether a compiled part of a package is in the process's memory."""
    return f"/{package}/" in Path(f"/proc/{process.pid}/maps").read_text()


def test_numpy_is_loaded_only_once_a_condition_needs_it(bench):
    bench.start_exchange("--speed", "3600")
    bench.write_config(streams=True)
    bot = bench.start_bot()
    wait_for(lambda: bench.status().get("sells", 0) > 0)
    loaded = {name for name in ("numpy", "pyarrow") if mapped(bot, name)}
    bench.stop(bot)
    assert not loaded
    bench.write_config(streams=True, **{"[volatility]": None, "enabled": "true"})
    bot = bench.start_bot()
    wait_for(lambda: mapped(bot, "numpy"))
    assert not mapped(bot, "pyarrow")
