"""Names of orders at the bounds of what fits."""

import pytest
from gridbot.core.orders import client_prefix, grid_run_tag, number_or_text

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


@pytest.mark.parametrize(
    ("identity", "told"),
    [
        ("7", 7),
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),  # what SQLite and JSON's readers keep
        ("9223372036854775808", "9223372036854775808"),
        ("007", "007"),  # an ID that begins with a nought is not the number
        ("-7", "-7"),
        ("0000e0d5.01", "0000e0d5.01"),
        ("", ""),
        ("9" * 5000, "9" * 5000),  # more digits than Python reads as a number
    ],
)
def test_an_id_is_a_number_in_files_where_it_is_one(identity, told):
    assert number_or_text(identity) == told
