"""Names of orders at the bounds of what fits."""

from gridbot.core.orders import client_prefix, grid_run_tag

EPOCH_2020_MS = 1_577_836_800_000


def test_a_symbol_is_spelled_out_as_long_as_it_fits_beside_the_bots_name():
    assert client_prefix("twelve-chars", "BTCEUR") == "twelve-chars-BTCEUR-"
    assert client_prefix("eleven-char", "BTCUSDT") == "eleven-char-BTCUSDT-"
    shortened = client_prefix("twelve-chars", "BTCUSDT")
    assert shortened.startswith("twelve-chars-")
    assert len(shortened) == len("twelve-chars-BTCEUR-")
    assert shortened != client_prefix("twelve-chars", "ETHUSDT")


def test_a_tag_counts_seconds_since_2020():
    assert grid_run_tag(EPOCH_2020_MS - 1, None) == "000000"
    assert grid_run_tag(EPOCH_2020_MS + 999, None) == "000000"
    assert grid_run_tag(EPOCH_2020_MS + 36_000, None) == "000010"
    assert grid_run_tag(EPOCH_2020_MS + 37_000, "00000z") == "000011"
    assert grid_run_tag(EPOCH_2020_MS + 37_000, "000011") == "000012"
