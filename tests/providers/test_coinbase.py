from datetime import UTC, datetime, timedelta

import pytest

from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import ProviderError, UnknownSymbol
from monitor.ports import Instrument
from tests.providers.rest import Said
from tests.providers.rigs import coinbase

NOW = datetime(2025, 11, 26, 20, 30, 30, tzinfo=UTC)
MINUTE, DAILY = TIMEFRAMES["1m"], TIMEFRAMES["1d"]
NEWEST = NOW.replace(second=0)


@pytest.fixture
def rig():
    with coinbase(NOW) as opened:
        yield opened


def minutes(*ago):
    return [(NEWEST - timedelta(minutes=n), 10.0 + n, 12.0 + n, 9.0 + n, 11.0 + n, 0.5 + n) for n in sorted(ago)[::-1]]


def test_a_row_has_the_low_before_the_high_and_both_before_open_and_close(rig):
    label = datetime(2018, 1, 1, tzinfo=UTC)
    rig.api.give("BTC-EUR", "86400", [])
    rig.api.faults.append(Said(200, [[1514764800, 0.32, 4.2, 0.35, 1.23, 12.3]]))
    fetched = rig.provider.fetch({"BTC-EUR": label}, DAILY, label + timedelta(hours=1))
    assert fetched.bars.rows() == [("BTC-EUR", label, 0.35, 4.2, 0.32, 1.23, 12.3)]
    assert fetched.instruments == {"BTC-EUR": Instrument("24/7", "EUR", "crypto")}
    assert rig.api.asked[0].path == "/products/BTC-EUR/candles"


@pytest.mark.parametrize("symbol", ["AAPL", "BRK-B", "AZN.L", "EURUSD=X", "../AAPL-USD", "a/b-USD", "btc-usd"])
def test_what_is_no_pair_of_crypto_is_not_asked_for(rig, symbol):
    failure = rig.provider.fetch({symbol: None}, MINUTE, NOW).failures[symbol]
    assert isinstance(failure, UnknownSymbol)
    assert "written like BTC-USD" in failure.message
    assert rig.api.asked == []


def test_a_long_time_comes_in_windows_of_300_bars(rig):
    rows = minutes(*range(700))
    rig.api.give("BTC-USD", "60", rows)
    bars = rig.provider.fetch({"BTC-USD": rows[0][0]}, MINUTE, NOW).bars
    assert bars.rows() == [("BTC-USD", *row) for row in rows]
    assert len(rig.api.asked) == 3


def test_a_time_without_trades_is_bridged_and_its_bars_are_absent(rig):
    rows = minutes(0, 1, 650, 651)
    rig.api.give("BTC-USD", "60", rows)
    fetched = rig.provider.fetch({"BTC-USD": rows[0][0]}, MINUTE, NOW)
    assert fetched.bars["ts"].to_list() == [row[0] for row in rows]
    assert fetched.quiet.is_empty()  # it may also be late


def test_a_whole_history_begins_where_nothing_is_before_it(rig):
    rig.api.give("BTC-USD", "60", minutes(*range(450)))
    assert rig.provider.fetch({"BTC-USD": None}, MINUTE, NOW).bars.height == 450
    assert len(rig.api.asked) == 3


def test_bars_beside_those_asked_for_are_left_out(rig):
    rows = minutes(*range(40))
    rig.api.give("BTC-USD", "60", rows)
    rig.api.early = 20
    assert rig.provider.fetch({"BTC-USD": rows[30][0]}, MINUTE, NOW).bars["ts"].to_list() == [
        row[0] for row in rows[30:]
    ]


def test_no_bar_older_than_its_lookback_is_asked_for(rig):
    rig.api.give("BTC-USD", "60", minutes(0))
    rig.api.faults += [Said(200, [[int(NEWEST.timestamp()), 1, 1, 1, 1, 1]])] * 17
    rig.provider.fetch({"BTC-USD": NOW - timedelta(days=30)}, MINUTE, NOW)
    oldest = min(datetime.fromisoformat(asked.query["start"]) for asked in rig.api.asked)
    assert NOW - oldest <= rig.provider.lookback(MINUTE) == timedelta(minutes=5000)


def test_a_pair_that_it_does_not_have_is_named(rig):
    failure = rig.provider.fetch({"NOPE-USD": None}, MINUTE, NOW).failures["NOPE-USD"]
    assert isinstance(failure, UnknownSymbol)
    assert failure.message == "Coinbase has no pair NOPE-USD"


def test_a_page_that_is_not_there_says_nothing_of_a_pair(rig):
    rig.api.faults.append(Said(404, b"<html>"))
    assert type(rig.provider.fetch({"BTC-USD": None}, MINUTE, NOW).failures["BTC-USD"]) is ProviderError
