import threading
from datetime import UTC, datetime, timedelta

import pytest

from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import ProviderError, RateLimited, UnknownSymbol, Unreachable
from monitor.ports import Instrument
from tests.providers.rest import Said
from tests.providers.rigs import APPLE, twelvedata

NOW = datetime(2025, 11, 26, 20, 30, 15, tzinfo=UTC)
QUARTER, DAILY = TIMEFRAMES["15m"], TIMEFRAMES["1d"]
EURO = {"currency_base": "Euro", "currency_quote": "US Dollar", "type": "Physical Currency"}
BITCOIN = {
    "currency_base": "Bitcoin",
    "currency_quote": "US Dollar",
    "exchange": "Coinbase Pro",
    "type": "Digital Currency",
}
TOYOTA = {
    "currency": "JPY",
    "exchange_timezone": "Asia/Tokyo",
    "exchange": "JPX",
    "mic_code": "XJPX",
    "type": "Common Stock",
}


@pytest.fixture
def rig():
    with twelvedata(NOW) as opened:
        yield opened


def days(*dates):
    return [(datetime(2025, 11, day, tzinfo=UTC), 10.0, 12.0, 9.0, 11.0, 100.0) for day in dates]


def error(code, message):
    return {"code": code, "message": message, "status": "error"}


@pytest.mark.parametrize(
    ("symbol", "named"),
    [
        ("AAPL", {"symbol": "AAPL", "country": "United States"}),
        ("BRK-B", {"symbol": "BRK.B", "country": "United States"}),
        ("AZN.L", {"symbol": "AZN", "mic_code": "XLON"}),
        ("7203.T", {"symbol": "7203", "mic_code": "XJPX"}),
        ("RELIANCE.NS", {"symbol": "RELIANCE", "mic_code": "XNSE"}),
        ("NOVO-B.CO", {"symbol": "NOVO.B", "mic_code": "XCSE"}),
        ("EURUSD=X", {"symbol": "EUR/USD"}),
        ("JPY=X", {"symbol": "USD/JPY"}),
        ("BTC-USD", {"symbol": "BTC/USD"}),
    ],
)
def test_a_symbol_is_named_as_twelve_data_names_it(rig, symbol, named):
    rig.provider.fetch({symbol: None}, DAILY, NOW)
    query = rig.api.asked[0].query
    assert {key: query[key] for key in ("symbol", "mic_code", "country") if key in query} == named


@pytest.mark.parametrize("symbol", ["^GSPC", "ES=F", "X.ZZ", "aapl", "A B", "AA/BB", "EURO=X"])
def test_what_it_cannot_name_is_not_asked_for(rig, symbol):
    failure = rig.provider.fetch({symbol: None}, DAILY, NOW).failures[symbol]
    assert isinstance(failure, UnknownSymbol)
    assert "EURUSD=X" in failure.message
    assert rig.api.asked == []


@pytest.mark.parametrize(
    ("symbol", "name", "meta", "instrument"),
    [
        ("AAPL", "AAPL", APPLE, Instrument("XNYS", "USD", "equity")),
        ("SPY", "SPY", APPLE | {"mic_code": "ARCX", "type": "ETF"}, Instrument("XNYS", "USD", "etf")),
        ("7203.T", "7203:XJPX", TOYOTA, Instrument("XTKS", "JPY", "equity")),
        ("AZN.L", "AZN:XLON", TOYOTA | {"mic_code": "XLON", "currency": "GBp"}, Instrument("XLON", "GBp", "equity")),
        ("ABC.L", "ABC:XLON", TOYOTA | {"mic_code": "ABCD", "type": "Warrant"}, Instrument(None, "JPY", "")),
        ("EURUSD=X", "EUR/USD", EURO, Instrument("FX", "USD", "currency")),
        ("BTC-USD", "BTC/USD", BITCOIN, Instrument("24/7", "USD", "crypto")),
    ],
)
def test_it_says_what_a_symbol_is(rig, symbol, name, meta, instrument):
    rig.api.meta[name] = meta
    rig.api.give(name, "1day", days(24))
    assert rig.provider.fetch({symbol: None}, DAILY, NOW).instruments == {symbol: instrument}


def test_intraday_labels_are_instants_whatever_the_exchange(rig):
    rows = [(datetime(2025, 11, 26, 0, 15 * n, tzinfo=UTC), 10.0, 12.0, 9.0, 11.0, 100.0) for n in range(4)]
    rig.api.meta["7203:XJPX"] = TOYOTA
    rig.api.give("7203:XJPX", "15min", rows)
    bars = rig.provider.fetch({"7203.T": rows[1][0]}, QUARTER, NOW).bars
    assert bars.rows() == [("7203.T", *row) for row in rows[1:]]


def test_a_daily_label_is_the_date_of_the_exchange(rig):
    rig.api.meta["7203:XJPX"] = TOYOTA
    rig.api.give("7203:XJPX", "1day", days(25, 26))
    fetched = rig.provider.fetch({"7203.T": datetime(2025, 11, 25, tzinfo=UTC)}, DAILY, NOW)
    assert fetched.bars["ts"].to_list() == [row[0] for row in days(25, 26)]
    query = rig.api.asked[0].query
    assert (query["start_date"], query.get("timezone"), query["adjust"]) == ("2025-11-25", None, "splits")


def test_a_whole_history_is_the_newest_5000_bars(rig):
    rig.provider.fetch({"AAPL": None}, DAILY, NOW)
    query = rig.api.asked[0].query
    assert (query["outputsize"], "start_date" in query) == ("5000", False)
    assert rig.provider.lookback(QUARTER) == 5000 * QUARTER.length


def test_currencies_have_no_volume_and_no_day_on_a_weekend(rig):
    rig.api.meta["EUR/USD"] = EURO
    rig.api.give("EUR/USD", "1day", days(21, 22, 23, 24))  # Friday to Monday
    bars = rig.provider.fetch({"EURUSD=X": None}, DAILY, NOW).bars
    assert bars["ts"].dt.day().to_list() == [21, 24]
    assert bars["volume"].to_list() == [None, None]


def test_a_day_of_currencies_is_waited_for_until_midnight_in_utc(rig):
    ends_in_london = datetime(2025, 7, 1, 23, tzinfo=UTC)
    assert ends_in_london + rig.provider.lag("FX", DAILY) == datetime(2025, 7, 2, tzinfo=UTC)


def test_exchanges_that_may_be_late_are_waited_for(rig):
    assert rig.provider.lag("XLON", QUARTER) == timedelta(minutes=30)
    assert rig.provider.lag("XLON", DAILY) == timedelta(minutes=15)
    assert [rig.provider.lag(market, QUARTER) for market in ("XNYS", "FX", "24/7")] == [timedelta(0)] * 3


@pytest.mark.parametrize("said", [Said(401, error(401, "**apikey** parameter is incorrect")), None])
def test_a_wrong_key_is_told_with_the_setting_to_correct(said):
    with twelvedata(NOW, key="another") as rig:
        if said:
            rig.api.faults.append(Said(200, said.body))  # errors may come with a status of success
        fetched = rig.provider.fetch({"AAPL": None, "MSFT": None}, DAILY, NOW)
        assert len(rig.api.asked) == 1
    assert {type(failure) for failure in fetched.failures.values()} == {ProviderError}
    assert "`key` or `key_file`" in fetched.failures["MSFT"].hint


def test_a_symbol_of_a_larger_plan_is_told_so(rig):
    message = "This symbol is available starting with Grow (Grow plan). Consider upgrading now at https://…"
    rig.api.faults.append(Said(404, error(404, message)))
    failure = rig.provider.fetch({"AZN.L": None}, DAILY, NOW).failures["AZN.L"]
    assert isinstance(failure, UnknownSymbol)
    assert failure.message == "AZN.L is not in your plan of Twelve Data"


def test_a_time_without_bars_is_no_failure(rig):
    rig.api.give("AAPL", "1day", days(24))
    fetched = rig.provider.fetch({"AAPL": datetime(2025, 11, 26, tzinfo=UTC)}, DAILY, NOW)
    assert (fetched.as_of, fetched.failures, fetched.bars.height) == ({"AAPL": NOW}, {}, 0)


@pytest.mark.parametrize(
    ("span", "wait"),
    [("current minute. 9 API credits were used", timedelta(seconds=45)), ("day. 801 were", timedelta(seconds=12585))],
)
def test_credits_that_are_used_up_come_back_with_the_minute_or_the_day(rig, span, wait):
    rig.api.faults.append(Said(429, error(429, f"You have run out of API credits for the {span}")))
    failure = rig.provider.fetch({"AAPL": None}, DAILY, NOW).failures["AAPL"]
    assert isinstance(failure, RateLimited)
    assert failure.retry_after == wait


def test_a_failure_of_the_server_in_an_answer_is_no_answer(rig):
    rig.api.faults.append(Said(200, error(500, "Internal server error")))
    assert isinstance(rig.provider.fetch({"AAPL": None}, DAILY, NOW).failures["AAPL"], Unreachable)


def test_no_more_than_half_the_credits_of_a_minute_are_spent_at_once():
    with twelvedata(NOW, credits_per_minute=4) as rig:
        fetched = []
        symbols = dict.fromkeys(["AAPL", "IBM", "MSFT"], datetime(2025, 11, 24, tzinfo=UTC))
        fetching = threading.Thread(target=lambda: fetched.append(rig.provider.fetch(symbols, DAILY, NOW)))
        fetching.start()
        assert rig.api.wait_for(2)
        assert not rig.api.wait_for(3, timeout=0.2)
        rig.provider.close()
        fetching.join(5)
    assert rig.provider.batch == 4
    assert isinstance(fetched[0].failures["MSFT"], Unreachable)
