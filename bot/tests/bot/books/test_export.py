"""The export holds every order and every trade, in the columns that the archive had."""

import csv
import sys
from dataclasses import replace
from decimal import Decimal

import pytest
from gridbot.cli import main
from gridbot.commands.export import HEAD

from .conftest import Life


def export(tmp_path, name):
    return main(["export", "--state", str(tmp_path), "--out", str(tmp_path / name)])


@pytest.mark.parametrize("kept", [1, 5, 1000])
def test_every_order_and_trade_is_there(store, tmp_path, capsys, kept):
    life = Life(store).swing(5)
    life.settle(kept)
    assert export(tmp_path, "all.csv") == 0
    assert capsys.readouterr().out == f"written: {tmp_path}/all.csv\n"
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(HEAD)
    assert {row["symbol"] for row in rows} == {"BTC/USDT"}
    traded = [row for row in rows if row["trade_id"]]
    assert [row["trade_id"] for row in traded] == [fill.trade_id for fill in life.fills]
    assert [Decimal(row["fee"]) for row in traded] == [fill.commission for fill in life.fills]
    orders = {row["order"] for row in rows}
    assert orders == {order.client_id for changes in life.changes for order in changes.orders}
    profits = [Decimal(row["profit"]) for row in rows if row["profit"]]
    assert len(profits) == len({row["pair"] for row in rows if row["pair"]}) > 3
    assert sum(profits) == life.engine.books.grid_profit


class Named(Life):
    """A life on an exchange with such IDs."""

    identity = "{}"

    def step(self, event, *arguments):
        if event == self.engine.record_fill:
            fill = arguments[0]
            arguments = [replace(fill, trade_id=self.identity.format(fill.trade_id))]
        return super().step(event, *arguments)


@pytest.mark.parametrize(
    ("identity", "kind"), [("{}", "int64"), ("0000e0d5.{}.01", "string"), ("0{}", "string")]
)
def test_parquet_holds_the_same(store, tmp_path, monkeypatch, identity, kind):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(Named, "identity", identity)
    monkeypatch.setattr("gridbot.commands.export.BATCH_ROWS", 7)
    Named(store).swing(5).settle(5)
    assert [export(tmp_path, name) for name in ("all.csv", "all.parquet")] == [0, 0]
    table = parquet.read_table(tmp_path / "all.parquet")
    assert str(table.schema.field("trade_id").type) == kind
    assert str(table.schema.field("exchange_id").type) == "int64"
    assert str(table.schema.field("time_ms").type) == "int64"
    with (tmp_path / "all.csv").open() as file:
        _, *rows = csv.reader(file)
    seen = [
        ["" if cell is None else str(cell) for cell in row.values()] for row in table.to_pylist()
    ]
    assert seen == rows


def test_every_mistake_is_one_line(store, tmp_path, capsys, monkeypatch):
    Life(store)
    assert export(tmp_path, "all.txt") == 2
    assert "all.txt needs a name that ends with .csv or .parquet\n" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert export(tmp_path, "all.parquet") == 2
    line = "--out: Parquet takes pyarrow, which is not installed here; name a .csv file"
    assert capsys.readouterr().err == f"gridbot export: {line}\n"
    assert not list(tmp_path.glob("*.parquet*")) + list(tmp_path.glob(".*.tmp"))
