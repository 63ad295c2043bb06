from datetime import UTC, datetime, timedelta

import pytest

from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import ProviderError, RateLimited, UnknownSymbol, Unreachable
from monitor.ports import Instrument
from tests.providers.rest import Asked, Said
from tests.providers.rigs import binance

NOW = datetime(2025, 11, 26, 20, 30, 30, tzinfo=UTC)
MINUTE = TIMEFRAMES["1m"]


@pytest.fixture
def rig():
    with binance(NOW) as opened:
        yield opened


def minutes(count, until=NOW):
    """So many bars of a minute, of which the last one begins in the minute of `until`."""
    last = until.replace(second=0)
    labels = [last - timedelta(minutes=n) for n in reversed(range(count))]
    return [(label, 10.0 + n, 12.0 + n, 9.0 + n, 11.0 + n, 0.5 * n) for n, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("symbol", "pair", "quote"),
    [
        ("BTC-USD", "BTCUSDT", "USDT"),
        ("BTC-EUR", "BTCEUR", "EUR"),
        ("BTC-USDC", "BTCUSDC", "USDC"),
        ("ETH-BTC", "ETHBTC", "BTC"),
        ("1INCH-USD", "1INCHUSDT", "USDT"),
    ],
)
def test_a_pair_is_asked_for_as_binance_writes_it(rig, symbol, pair, quote):
    rig.api.give(pair, "1m", minutes(3))
    fetched = rig.provider.fetch({symbol: None}, MINUTE, NOW)
    assert fetched.bars.rows() == [(symbol, *row) for row in minutes(3)]
    assert fetched.instruments == {symbol: Instrument("24/7", quote, "crypto")}
    assert rig.api.asked[0].query["symbol"] == pair


@pytest.mark.parametrize(
    "symbol", ["AAPL", "BRK-B", "AZN.L", "EURUSD=X", "^GSPC", "btc-usd", "BTC/USD", "-USD", "B C-USD"]
)
def test_what_is_no_pair_of_crypto_is_not_asked_for(rig, symbol):
    failure = rig.provider.fetch({symbol: None}, MINUTE, NOW).failures[symbol]
    assert isinstance(failure, UnknownSymbol)
    assert "written like BTC-USD" in failure.message
    assert rig.api.asked == []


def test_a_long_time_comes_in_pages_of_a_thousand(rig):
    rows = minutes(2500)
    rig.api.give("BTCUSDT", "1m", rows)
    bars = rig.provider.fetch({"BTC-USD": rows[0][0]}, MINUTE, NOW).bars
    assert bars.rows() == [("BTC-USD", *row) for row in rows]
    assert [asked.query["limit"] for asked in rig.api.asked] == ["1000"] * 3


def test_a_last_page_that_is_full_is_the_last(rig):
    rows = minutes(1000)
    rig.api.give("BTCUSDT", "1m", rows)
    assert rig.provider.fetch({"BTC-USD": rows[0][0]}, MINUTE, NOW).bars.height == 1000
    assert len(rig.api.asked) == 1


def test_a_page_that_leads_nowhere_is_no_answer(rig):
    rig.api.give("BTCUSDT", "1m", minutes(1000, NOW - timedelta(days=30)))
    rig.api.faults.append(
        rig.api.say(Asked("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": "1000"}, {}))
    )
    failure = rig.provider.fetch({"BTC-USD": NOW - timedelta(days=2)}, MINUTE, NOW).failures["BTC-USD"]
    assert isinstance(failure, Unreachable)


def test_the_history_is_the_newest_5000_bars(rig):
    rows = minutes(6000)
    rig.api.give("BTCUSDT", "1m", rows)
    for since in (None, rows[0][0]):
        bars = rig.provider.fetch({"BTC-USD": since}, MINUTE, NOW).bars
        assert bars["ts"].to_list() == [row[0] for row in rows[-5000:]]


def test_a_forming_bar_ends_after_as_of(rig):
    rig.api.give("BTCUSDT", "1m", minutes(2))
    fetched = rig.provider.fetch({"BTC-USD": None}, MINUTE, NOW)
    ends = [label + MINUTE.length <= fetched.as_of["BTC-USD"] for label in fetched.bars["ts"]]
    assert ends == [True, False]


def test_a_minute_without_a_trade_is_a_bar(rig):
    still = [(NOW.replace(second=0), 10.0, 10.0, 10.0, 10.0, 0.0)]
    rig.api.give("BTCUSDT", "1m", still)
    assert rig.provider.fetch({"BTC-USD": None}, MINUTE, NOW).bars.rows() == [("BTC-USD", *still[0])]


@pytest.mark.parametrize(
    "said", [{"code": -1121, "msg": "Invalid symbol."}, {"code": -1100, "msg": "Illegal characters"}]
)
def test_a_pair_that_it_does_not_have_is_named(rig, said):
    rig.api.faults.append(Said(400, said))
    failure = rig.provider.fetch({"NOPE-USD": None}, MINUTE, NOW).failures["NOPE-USD"]
    assert isinstance(failure, UnknownSymbol)
    assert failure.message == "Binance has no pair NOPEUSDT"


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"Retry-After": "30"}, timedelta(seconds=30)),
        (418, {"Retry-After": "7200"}, timedelta(hours=2)),
        (403, {}, None),
    ],
)
def test_a_limit_and_a_ban_ask_to_be_left_alone(rig, status, headers, wait):
    rig.api.faults.append(Said(status, {"code": -1003, "msg": "Too much request weight used; IP banned."}, headers))
    failure = rig.provider.fetch({"BTC-USD": None}, MINUTE, NOW).failures["BTC-USD"]
    assert isinstance(failure, RateLimited)
    assert failure.retry_after == wait


def test_a_country_that_it_does_not_serve_is_told_of_another_address(rig):
    said = "Service unavailable from a restricted location according to 'b. Eligibility' in https://www.binance.com/en/terms."
    rig.api.faults.append(Said(451, {"code": 0, "msg": said}))
    fetched = rig.provider.fetch({"BTC-USD": None, "ETH-USD": None}, MINUTE, NOW)
    assert {type(failure) for failure in fetched.failures.values()} == {ProviderError}
    assert "https://api.binance.us" in fetched.failures["BTC-USD"].hint
    assert len(rig.api.asked) == 1
