from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from monitor.core.adjust import Split
from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import ProviderError, UnknownSymbol, Unreachable
from monitor.ports import Instrument
from tests.providers.rest import Said
from tests.providers.rigs import alpaca

NOW = datetime(2025, 11, 26, 20, 30, tzinfo=UTC)
DAILY, HALF_HOUR = TIMEFRAMES["1d"], TIMEFRAMES["30m"]
SHARES = ["AAPL", "BRK-B", "MSFT"]
TEN_YEARS = timedelta(days=3653)


@pytest.fixture
def rig():
    with alpaca(NOW) as opened:
        yield opened


def november(*days):
    return [(datetime(2025, 11, day, tzinfo=UTC), 10.0 + day, 12.0 + day, 9.0 + day, 11.0 + day, 1e3) for day in days]


def all_day(day):
    """Bars of half an hour from before the session to after it, 9:00 to 1:00 UTC."""
    labels = [day + timedelta(hours=9) + n * HALF_HOUR.length for n in range(32)]
    return [(label, 10.0, 12.0, 9.0, 11.0, 100.0) for label in labels]


def bars(asked):
    return [request.query for request in asked if request.path == "/v2/stocks/bars"]


def test_many_symbols_are_one_request_for_prices_adjusted_for_splits(rig):
    for symbol in SHARES:
        rig.give(symbol, november(24, 25))
    fetched = rig.provider.fetch(dict.fromkeys(SHARES), DAILY, NOW)
    assert fetched.bars.height == 6
    assert fetched.instruments["BRK-B"] == Instrument("XNYS", "USD", "equity")
    [query] = bars(rig.api.asked)
    assert (query["symbols"], query["timeframe"], query["adjustment"]) == ("AAPL,BRK.B,MSFT", "1Day", "split")


@pytest.mark.parametrize("symbol", ["AZN.L", "BRK.B", "^GSPC", "BTC-USD", "EURUSD=X", "ES=F", "aapl", "A,B", "TOOLONG"])
def test_what_is_no_share_of_the_united_states_is_not_asked_for(rig, symbol):
    failure = rig.provider.fetch({symbol: None}, DAILY, NOW).failures[symbol]
    assert isinstance(failure, UnknownSymbol)
    assert "shares of the United States" in failure.message
    assert rig.api.asked == []


def test_an_hour_that_begins_at_the_full_hour_is_not_asked_for(rig):
    failure = rig.provider.fetch({"AAPL": None}, TIMEFRAMES["1h"], NOW).failures["AAPL"]
    assert failure.message == "Alpaca has no 1h bars that begin with the session"


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        pytest.param(datetime(2025, 11, 26, tzinfo=UTC), "14:30", "20:30", id="in winter"),
        pytest.param(datetime(2025, 7, 1, tzinfo=UTC), "13:30", "19:30", id="in summer"),
        pytest.param(datetime(2025, 11, 28, tzinfo=UTC), "14:30", "17:30", id="half a day"),
        pytest.param(datetime(2025, 11, 29, tzinfo=UTC), "14:30", "20:30", id="a session that no calendar knows"),
    ],
)
def test_bars_before_and_after_the_session_are_left_out(rig, day, first, last):
    rig.api.now = now = day + timedelta(days=2)
    rig.api.give("AAPL", "30Min", all_day(day))
    labels = rig.provider.fetch({"AAPL": day}, HALF_HOUR, now).bars["ts"].dt.to_string("%H:%M").to_list()
    assert (labels[0], labels[-1], len(labels)) == (first, last, 7 if last == "17:30" else 13)


@pytest.mark.parametrize("label", ["2025-11-24T05:00:00Z", "2025-07-01T04:00:00Z", "2025-03-10T04:00:00Z"])
def test_a_daily_bar_is_labelled_by_its_date_in_new_york(rig, label):
    begun = datetime.fromisoformat(label)
    rig.api.give("AAPL", "1Day", [(begun, 10.0, 12.0, 9.0, 11.0, 100.0)])
    session = datetime.combine(begun.date(), datetime.min.time(), UTC)
    assert rig.provider.fetch({"AAPL": session}, DAILY, NOW).bars["ts"].to_list() == [session]


def test_pages_are_followed_to_the_end(rig):
    rig.api.page = 2
    for symbol in SHARES:
        rig.give(symbol, november(20, 21, 24))
    fetched = rig.provider.fetch(dict.fromkeys(SHARES), DAILY, NOW)
    assert fetched.bars.height == 9
    assert len(bars(rig.api.asked)) == 5


def test_what_came_before_a_page_failed_is_kept(rig):
    rig.api.page = 2
    for symbol in SHARES:
        rig.give(symbol, november(20, 21, 24))
    rig.api.faults += [None, None, Said(503)]
    fetched = rig.provider.fetch(dict.fromkeys(SHARES), DAILY, NOW)
    assert fetched.as_of.keys() == {"AAPL"}
    assert fetched.bars.height == 3
    assert {symbol: type(failure) for symbol, failure in fetched.failures.items()} == {
        "BRK-B": Unreachable,
        "MSFT": Unreachable,
    }


def test_a_ticker_that_it_calls_invalid_spoils_no_others(rig):
    for symbol in SHARES:
        rig.give(symbol, november(24))
    rig.api.invalid = {"BRK.B", "MSFT"}
    fetched = rig.provider.fetch(dict.fromkeys(SHARES), DAILY, NOW)
    assert {*fetched.bars["symbol"]} == {"AAPL"}
    assert fetched.failures["BRK-B"].message == "Alpaca has no symbol BRK-B"
    assert isinstance(fetched.failures["MSFT"], UnknownSymbol)


def test_without_a_new_bar_a_stored_symbol_is_known_and_one_never_heard_of_is_not(rig):
    fetched = rig.provider.fetch({"AAPL": datetime(2025, 11, 26, tzinfo=UTC), "NONE": None}, DAILY, NOW)
    assert fetched.as_of.keys() == {"AAPL"}
    assert fetched.failures["NONE"].message == "Alpaca has no 1d bars of NONE"


def test_symbols_asked_for_from_about_the_same_time_share_a_request(rig):
    hour = timedelta(hours=1)
    since = {"AAPL": NOW - 5 * hour, "MSFT": NOW - 7 * hour, "BRK-B": NOW - 300 * hour}
    rig.provider.fetch(since, HALF_HOUR, NOW)
    assert [query["symbols"] for query in bars(rig.api.asked)] == ["AAPL,MSFT", "BRK.B"]


def test_a_history_goes_ten_years_back_or_5000_bars(rig):
    rig.provider.fetch({"AAPL": None}, DAILY, NOW)
    rig.provider.fetch({"AAPL": datetime(1990, 1, 1, tzinfo=UTC)}, HALF_HOUR, NOW)
    daily, intraday = (datetime.fromisoformat(query["start"]) for query in bars(rig.api.asked))
    assert NOW - daily == TEN_YEARS
    assert NOW - intraday == 5000 * HALF_HOUR.length * 5.5


def test_the_free_feed_of_all_exchanges_is_known_16_minutes_late(rig):
    rig.give("AAPL", november(24))
    fetched = rig.provider.fetch({"AAPL": None}, DAILY, NOW)
    assert fetched.as_of["AAPL"] == NOW - timedelta(minutes=16)
    assert rig.provider.lag("XNYS", HALF_HOUR) == timedelta(minutes=16)
    assert rig.provider.lag("XNYS", DAILY) == timedelta(0)


def test_the_feed_of_one_exchange_is_known_at_once():
    with alpaca(NOW, feed="iex") as rig:
        rig.give("AAPL", november(24))
        assert rig.provider.fetch({"AAPL": None}, DAILY, NOW).as_of["AAPL"] == NOW
        assert rig.provider.lag("XNYS", HALF_HOUR) == timedelta(0)
        assert rig.api.asked[0].query["feed"] == "iex"


def test_a_feed_that_the_plan_lacks_is_told_with_those_it_has():
    with alpaca(NOW, feed="sip") as rig:
        failure = rig.provider.fetch({"AAPL": None}, DAILY, NOW).failures["AAPL"]
    assert type(failure) is ProviderError
    assert 'feed = "delayed_sip"' in failure.hint


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_told_with_the_settings_to_correct(rig, status):
    rig.api.faults.append(Said(status, {"message": "forbidden."}))
    fetched = rig.provider.fetch(dict.fromkeys(SHARES), DAILY, NOW)
    assert {type(failure) for failure in fetched.failures.values()} == {ProviderError}
    assert "`key_id` and `secret`" in fetched.failures["AAPL"].hint
    assert len(rig.api.asked) == 1


def test_a_row_with_a_time_of_another_form_is_no_answer(rig):
    row = {"t": "2025-11-24", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1}
    rig.api.faults.append(Said(200, {"bars": {"AAPL": [row, row | {"t": "24.11.2025"}]}, "next_page_token": None}))
    assert isinstance(rig.provider.fetch({"AAPL": None}, DAILY, NOW).failures["AAPL"], Unreachable)


SPLITS = [
    {"symbol": "AAPL", "ex_date": "2025-11-25", "process_date": "2025-11-25", "new_rate": 4, "old_rate": 1},
    {"symbol": "BRK.B", "ex_date": "2025-11-24", "process_date": "2025-11-24", "new_rate": 1, "old_rate": 2.5},
    {"symbol": "BRK.B", "ex_date": "2010-01-21", "process_date": "2010-01-21", "new_rate": 50, "old_rate": 1},
]


def test_the_splits_since_the_stored_bars_are_named(rig):
    rig.api.splits = SPLITS
    since = datetime(2025, 11, 20, tzinfo=UTC)
    assert rig.provider.fetch(dict.fromkeys(SHARES, since), DAILY, NOW).splits == {
        "AAPL": (Split(datetime(2025, 11, 25, tzinfo=UTC), Fraction(4)),),
        "BRK-B": (Split(datetime(2025, 11, 24, tzinfo=UTC), Fraction(2, 5)),),
    }


def test_a_whole_history_needs_no_splits(rig):
    rig.api.splits = SPLITS
    rig.give("AAPL", november(24))
    assert rig.provider.fetch({"AAPL": None}, DAILY, NOW).splits == {}
    assert len(rig.api.asked) == 1


@pytest.mark.parametrize("said", [Said(503), Said(403, {"message": "forbidden."}), Said(200, {"odd": 1})])
def test_bars_come_without_splits_where_those_cannot_be_had(rig, said):
    rig.give("AAPL", november(24))
    rig.api.faults += [None, said]
    fetched = rig.provider.fetch({"AAPL": datetime(2025, 11, 24, tzinfo=UTC)}, DAILY, NOW)
    assert (fetched.bars.height, fetched.splits, fetched.failures) == (1, {}, {})
