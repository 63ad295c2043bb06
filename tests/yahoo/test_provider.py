"""The yahoo provider on the wire: what it asks for, through the real yfinance, and what it makes of failures."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread
from time import monotonic
from types import SimpleNamespace

import polars as pl
import pytest

from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import ProviderError, RateLimited, UnknownSymbol, Unreachable
from monitor.markets import MARKETS
from monitor.ports import Instrument
from monitor.providers import yahoo_names
from monitor.providers.yahoo import YahooProvider
from tests.yahoo.chart import chart
from tests.yahoo.faults import TEXT, Answer, Fault, refusal, revised

NOW = datetime(2026, 1, 14, 17, tzinfo=UTC)
OPEN = datetime(2026, 1, 14, 14, 30, tzinfo=UTC)
DAILY, MINUTE, FIVE, HOUR = (TIMEFRAMES[name] for name in ("1d", "1m", "5m", "1h"))
DATES = [datetime(2026, 1, day, tzinfo=UTC) for day in (7, 8, 9, 12, 13)]


def bars(labels: list[datetime]) -> pl.DataFrame:
    """Rising bars, each unlike the others."""
    number = pl.Series(range(len(labels)), dtype=pl.Float64)
    prices = {"open": number + 100, "high": number + 102, "low": number + 99, "close": number + 101}
    return pl.DataFrame({"ts": labels, **prices, "volume": number * 10 + 1000})


def run(first: datetime, count: int, minutes: int) -> list[datetime]:
    return [first + number * timedelta(minutes=minutes) for number in range(count)]


def charts(yahoo):
    return [request for request in yahoo.requests if request.endpoint == "chart"]


def answer_always(monkeypatch, yahoo, answer: Answer) -> None:
    """Give each request for a chart the same answer."""
    fault = SimpleNamespace(effect=answer)
    monkeypatch.setattr(yahoo.market, "fault", lambda endpoint, *_: fault if endpoint == "chart" else None)


@pytest.fixture
def provider(fresh_yfinance, tmp_path):
    opened = YahooProvider(tmp_path / "cache", requests_per_second=1000)
    yield opened
    opened.close()


@pytest.fixture
def shown(yahoo, monkeypatch) -> list[str]:
    """The cookies of each request."""
    cookies: list[str] = []
    serve = yahoo.serve
    monkeypatch.setattr(yahoo, "serve", lambda *asked: (cookies.append(asked[-1]), serve(*asked))[1])
    return cookies


@pytest.fixture
def symbols(yahoo):
    """Twelve symbols with five closed daily bars each."""
    names = [f"S{number:02}" for number in range(12)]
    for name in names:
        yahoo.market.add(name, bars={"1d": bars(DATES)})
    return names


def test_a_cold_start_costs_a_cookie_a_crumb_and_one_chart_a_symbol(yahoo, provider, symbols):
    provider.fetch(dict.fromkeys(symbols[:3]), DAILY, NOW)
    assert sorted(request.endpoint for request in yahoo.requests) == ["chart", "chart", "chart", "cookie", "crumb"]


def test_it_asks_from_two_bars_before_since_and_for_no_end_in_the_past(yahoo, provider):
    yahoo.market.add("AAPL", bars={"5m": bars(run(OPEN, 30, 5))})
    provider.fetch({"AAPL": OPEN + timedelta(minutes=60)}, FIVE, NOW)
    (asked,) = charts(yahoo)
    assert int(asked.query["period1"]) == (OPEN + timedelta(minutes=50)).timestamp()
    assert int(asked.query["period2"]) > NOW.timestamp()
    assert (asked.query["interval"], asked.query["includePrePost"]) == ("5m", "false")


def test_the_volume_of_the_first_row_is_not_believed(yahoo, provider):
    truth = bars(run(OPEN, 30, 5))
    yahoo.market.add("AAPL", bars={"5m": truth})
    yahoo.market.understates = True
    since = OPEN + timedelta(minutes=60)
    given = provider.fetch({"AAPL": since}, FIVE, NOW).bars
    assert given.drop("symbol").equals(truth.filter(pl.col("ts") >= since).cast(given.drop("symbol").schema))


def test_the_bar_after_the_opening_bell_is_had_with_its_volume(yahoo, provider):
    truth = bars([*run(OPEN - timedelta(days=1), 78, 5), *run(OPEN, 30, 5)])
    yahoo.market.add("AAPL", bars={"5m": truth})
    yahoo.market.understates = True
    given = provider.fetch({"AAPL": OPEN}, FIVE, NOW).bars
    assert given.drop("symbol").row(0) == truth.filter(pl.col("ts") == OPEN).row(0)


def test_the_very_first_bar_of_a_history_is_kept(yahoo, provider):
    yahoo.market.add("NEW", bars={"1h": bars(run(OPEN, 2, 60))})
    assert provider.fetch({"NEW": None}, HOUR, NOW).bars["ts"].to_list() == run(OPEN, 2, 60)


def test_a_month_of_minutes_comes_a_week_at_a_time_with_no_bar_lost_or_spoilt(yahoo, provider):
    now = datetime(2026, 5, 20, 17, tzinfo=UTC)  # a month without holidays in New York
    days = [datetime(2026, 5, 20, 13, 30, tzinfo=UTC) - timedelta(days=back) for back in range(35, -1, -1)]
    truth = bars([label for day in days if day.weekday() < 5 for label in run(day, 390, 1) if label < now])
    yahoo.market.add("AAPL", bars={"1m": truth})
    yahoo.market.at(now)
    yahoo.market.understates = True
    given = provider.fetch({"AAPL": None}, MINUTE, now).bars.drop("symbol")
    expected = truth.filter(pl.col("ts") >= now - timedelta(days=29))[1:]
    assert given.equals(expected.cast(given.schema))
    spans = [int(asked.query["period2"]) - int(asked.query["period1"]) for asked in charts(yahoo)[:-1]]
    assert (set(spans), len(spans)) == ({7 * 86400}, 4)


def test_an_answer_about_the_past_is_not_remembered(yahoo, provider):
    truth = bars(run(OPEN - timedelta(days=9), 60, 1) + run(OPEN, 60, 1))
    yahoo.market.add("AAPL", bars={"1m": truth})
    provider.fetch({"AAPL": None}, MINUTE, NOW)
    corrected = truth["ts"][30]
    yahoo.market.edit("AAPL", "1m", revised(corrected, volume=7.0))
    given = provider.fetch({"AAPL": None}, MINUTE, NOW).bars
    assert given.filter(pl.col("ts") == corrected)["volume"].to_list() == [7.0]


@pytest.mark.parametrize("name", ["1m", "5m", "1h"])
def test_it_never_asks_for_more_than_yahoo_has(yahoo, provider, name):
    yahoo.market.add("AAPL", bars={name: bars(run(OPEN, 2, 60))})
    for since in (None, NOW - timedelta(days=5000)):
        fetched = provider.fetch({"AAPL": since}, TIMEFRAMES[name], NOW)
        assert (set(fetched.as_of), fetched.failures) == ({"AAPL"}, {})
    assert provider.lookback(TIMEFRAMES[name]) == timedelta(days={"1m": 29, "5m": 59, "1h": 729}[name])


@pytest.mark.parametrize("name", ["5m", "1d"])
def test_a_since_in_the_future_is_asked_for_as_if_it_were_now(yahoo, provider, name):
    yahoo.market.add("AAPL", bars={name: bars(DATES)})
    fetched = provider.fetch({"AAPL": datetime(2200, 1, 1, tzinfo=UTC)}, TIMEFRAMES[name], NOW)
    assert (set(fetched.as_of), fetched.failures, fetched.bars.height) == ({"AAPL"}, {}, 0)


def test_daily_bars_are_had_as_far_back_as_there_are(yahoo, provider):
    yahoo.market.add("IBM", bars={"1d": bars([datetime(1962, 1, 2, tzinfo=UTC), *DATES])}, exchange="NYQ")
    assert provider.fetch({"IBM": None}, DAILY, NOW).bars["ts"][0].year == 1962
    assert provider.lookback(DAILY) is None


def test_every_request_takes_a_token(yahoo, fresh_yfinance, symbols, tmp_path):
    provider = YahooProvider(tmp_path / "cache", requests_per_second=20)
    begun = monotonic()
    provider.fetch(dict.fromkeys(symbols[:7]), DAILY, NOW)
    provider.close()
    assert len(yahoo.requests) == 9
    assert monotonic() - begun >= 4 / 20


@pytest.mark.parametrize(
    ("fault", "failure", "said"),
    [
        (Fault.UNKNOWN, UnknownSymbol, "Yahoo has no 1d bars of S00: No data found, symbol may be delisted"),
        (Fault.UNPROCESSABLE, UnknownSymbol, "The requested range must be within 730 days"),
        (Fault.RATE_LIMITED, RateLimited, "Yahoo asks to be left alone"),
        (Fault.SERVER_ERROR, Unreachable, "status 500"),
        (Fault.BAD_GATEWAY, Unreachable, "status 502"),
        (Fault.DENIED, Unreachable, "status 999"),
        (Fault.PAGE, Unreachable, "no sensible answer: JSONDecodeError"),
        (Fault.WILL_BE_RIGHT_BACK, Unreachable, "YAHOO! FINANCE IS CURRENTLY DOWN"),
        (Fault.NO_TIMESTAMP, Unreachable, "no sensible answer: KeyError: 'timestamp'"),
        (Fault.RESET, Unreachable, "cannot be reached: Recv failure"),
    ],
)
def test_a_failure_is_told_apart_at_the_first_answer(yahoo, provider, symbols, fault, failure, said):
    yahoo.market.fail(fault, "S00")
    fetched = provider.fetch(dict.fromkeys(["S00"]), DAILY, NOW)
    assert type(fetched.failures["S00"]) is failure
    assert said in fetched.failures["S00"].message
    assert (len(charts(yahoo)), fetched.as_of) == (1, {})


@pytest.mark.parametrize("fault", [Fault.NO_BARS, Fault.BAD_REQUEST])
def test_no_bars_in_a_span_is_no_failure(yahoo, provider, symbols, fault):
    yahoo.market.fail(fault, "S00")
    fetched = provider.fetch({"S00": DATES[0]}, DAILY, NOW)
    assert (fetched.failures, fetched.bars.height) == ({}, 0)
    assert fetched.as_of == {"S00": NOW - timedelta(seconds=30)}


def test_a_refused_cookie_is_not_taken_for_no_bars(yahoo, provider, symbols):
    yahoo.market.fail(Fault.INVALID_CRUMB)
    failures = provider.fetch(dict.fromkeys(symbols[:1]), DAILY, NOW).failures
    assert type(failures["S00"]) is Unreachable


def test_a_refusal_that_calls_itself_a_success_is_a_refusal(yahoo, provider, monkeypatch):
    answer_always(monkeypatch, yahoo, replace(refusal(404, "Not Found", "No data found"), status=200))
    failure = provider.fetch({"S00": None}, DAILY, NOW).failures["S00"]
    assert (type(failure), failure.message) == (UnknownSymbol, "Yahoo has no 1d bars of S00: No data found")


@pytest.mark.parametrize("body", [b"{}", b"null", b'{"chart": null}', b'{"chart": {"result": [], "error": null}}'])
def test_an_answer_about_nothing_is_not_taken_for_no_bars(yahoo, provider, monkeypatch, body):
    answer_always(monkeypatch, yahoo, Answer(200, body))
    assert type(provider.fetch({"S00": None}, DAILY, NOW).failures["S00"]) is Unreachable


def test_a_stale_cookie_is_replaced_within_the_fetch(yahoo, provider, symbols):
    yahoo.market.fail(Fault.INVALID_CRUMB, times=1)
    assert set(provider.fetch(dict.fromkeys(symbols[:1]), DAILY, NOW).as_of) == {"S00"}


def test_one_symbols_failure_hides_no_others_bars(yahoo, provider, symbols):
    yahoo.market.fail(Fault.SERVER_ERROR, "S01")
    yahoo.market.fail(Fault.UNKNOWN, "S02")
    fetched = provider.fetch(dict.fromkeys(symbols), DAILY, NOW)
    assert {name: type(failure) for name, failure in fetched.failures.items()} == {
        "S01": Unreachable,
        "S02": UnknownSymbol,
    }
    assert set(fetched.bars["symbol"]) == set(symbols) - {"S01", "S02"}


def test_an_answer_that_cannot_be_read_hides_no_others_bars(yahoo, provider, monkeypatch, symbols):
    query = {"interval": "1d", "period1": "0", "period2": str(int(NOW.timestamp()))}
    odd = chart(yahoo.market, "S01", query, NOW)
    split = {"date": int(DATES[2].timestamp()), "numerator": 1e308, "denominator": 1e-308}
    odd["chart"]["result"][0]["events"] = {"splits": {"1": split}}
    fault = SimpleNamespace(effect=Answer(200, json.dumps(odd).encode()))
    monkeypatch.setattr(yahoo.market, "fault", lambda _, symbol, *__: fault if symbol == "S01" else None)
    fetched = provider.fetch(dict.fromkeys(symbols), DAILY, NOW)
    assert type(fetched.failures["S01"]) is ProviderError
    assert set(fetched.bars["symbol"]) == set(symbols) - {"S01"}


def test_after_a_429_no_further_symbol_is_asked_for(yahoo, provider, symbols):
    yahoo.market.fail(Fault.RATE_LIMITED)
    failures = provider.fetch(dict.fromkeys(symbols), DAILY, NOW).failures
    assert {type(failures[name]) for name in symbols} == {RateLimited}
    assert len(charts(yahoo)) <= 3


def test_after_five_failures_in_a_row_no_further_symbol_is_asked_for(yahoo, provider, symbols):
    yahoo.market.fail(Fault.BAD_GATEWAY)
    failures = provider.fetch(dict.fromkeys(symbols), DAILY, NOW).failures
    assert {type(failures[name]) for name in symbols} == {Unreachable}
    assert 5 <= len(charts(yahoo)) <= 7


def test_failures_with_successes_between_them_are_no_outage(yahoo, provider, symbols):
    yahoo.market.fail(Fault.BAD_GATEWAY, *symbols[::2])
    fetched = provider.fetch(dict.fromkeys(symbols), DAILY, NOW)
    assert (len(charts(yahoo)), set(fetched.as_of)) == (12, set(symbols[1::2]))


def test_a_ban_that_names_its_end_says_until_when(yahoo, provider, monkeypatch):
    answer_always(monkeypatch, yahoo, Answer(429, b"Too Many Requests", TEXT, (("Retry-After", "1800"),)))
    failure = provider.fetch({"S00": None}, DAILY, NOW).failures["S00"]
    assert failure.retry_after == timedelta(minutes=30)


@pytest.mark.parametrize(("asked", "failure"), [(2, UnknownSymbol), (3, ProviderError)])
def test_many_unknown_symbols_and_no_known_one_say_nothing_about_any_of_them(yahoo, provider, symbols, asked, failure):
    yahoo.market.fail(Fault.UNKNOWN)
    failures = provider.fetch(dict.fromkeys(symbols[:asked]), DAILY, NOW).failures
    assert [type(each) for each in failures.values()] == [failure] * asked


def test_unknown_symbols_beside_a_known_one_are_unknown(yahoo, provider, symbols):
    yahoo.market.fail(Fault.UNKNOWN, *symbols[1:])
    failures = provider.fetch(dict.fromkeys(symbols), DAILY, NOW).failures
    assert {type(each) for each in failures.values()} == {UnknownSymbol}


def test_after_a_429_it_comes_back_as_a_stranger(yahoo, provider, symbols, shown):
    provider.fetch({"S00": None}, DAILY, NOW)
    yahoo.market.fail(Fault.RATE_LIMITED, times=1)
    provider.fetch({"S00": None}, DAILY, NOW)
    assert set(provider.fetch({"S00": None}, DAILY, NOW).as_of) == {"S00"}
    assert [request.endpoint for request in yahoo.requests[-3:]] == ["cookie", "crumb", "chart"]
    assert [bool(cookies) for cookies in shown] == [False, True, True, True, False, True, True]


def test_a_provider_made_anew_has_a_cookie_and_a_crumb_that_belong_together(yahoo, provider, symbols, shown, tmp_path):
    provider.fetch({"S00": None}, DAILY, NOW)
    second = YahooProvider(tmp_path / "cache", requests_per_second=1000)
    second.fetch({"S00": None}, DAILY, NOW)
    second.close()
    assert [request.endpoint for request in yahoo.requests[-2:]] == ["crumb", "chart"]
    assert all(shown[-2:])


@pytest.mark.parametrize("fault", [Fault.CRUMB_RATE_LIMITED, Fault.CRUMB_POISONED])
def test_the_text_of_an_error_is_never_sent_for_a_crumb(yahoo, provider, symbols, fault):
    yahoo.market.fail(fault)
    fetched = provider.fetch(dict.fromkeys(symbols[:4]), DAILY, NOW)
    assert set(fetched.as_of) == set(symbols[:4])
    assert [request.query.get("crumb") for request in charts(yahoo)] == [None] * 4
    assert sum(request.endpoint == "crumb" for request in yahoo.requests) == 1


def test_the_next_fetch_asks_for_a_crumb_again(yahoo, provider, symbols):
    yahoo.market.fail(Fault.CRUMB_POISONED, times=1)
    provider.fetch({"S00": None}, DAILY, NOW)
    provider.fetch({"S00": None}, DAILY, NOW)
    assert [request.query.get("crumb") for request in charts(yahoo)] == [None, "haT3oykhHqZ"]


def test_an_answer_may_be_half_a_minute_old(yahoo, provider, symbols):
    assert provider.fetch({"S00": None}, DAILY, NOW).as_of == {"S00": NOW - timedelta(seconds=30)}


def test_an_answer_is_no_newer_than_yahoos_clock(yahoo, provider, symbols):
    fast = NOW + timedelta(minutes=10)
    assert provider.fetch({"S00": None}, DAILY, fast).as_of == {"S00": NOW - timedelta(seconds=30)}


def test_the_newest_trade_is_seen_even_where_no_bar_is_new(yahoo, provider):
    yahoo.market.add("AAPL", bars={"5m": bars(run(OPEN, 20, 5))})
    fetched = provider.fetch({"AAPL": OPEN}, FIVE, NOW)
    assert fetched.seen == {"AAPL": NOW}


def test_a_later_bar_is_seen_even_where_the_newest_trade_is_not_told(yahoo, provider, monkeypatch):
    yahoo.market.add("AAPL", bars={"5m": bars(run(OPEN, 20, 5))})
    query = {"interval": "5m", "period1": str(int(OPEN.timestamp())), "period2": str(int(NOW.timestamp()))}
    told = chart(yahoo.market, "AAPL", query, NOW)
    told["chart"]["result"][0]["meta"]["regularMarketTime"] = None
    answer_always(monkeypatch, yahoo, Answer(200, json.dumps(told).encode()))
    assert provider.fetch({"AAPL": OPEN}, FIVE, NOW).seen == {"AAPL": OPEN + timedelta(minutes=95)}


@pytest.mark.parametrize(
    ("listed", "instrument"),
    [
        ({}, Instrument("XNYS", "USD", "equity")),
        ({"market": "XLON", "currency": "GBp"}, Instrument("XLON", "GBp", "equity")),
        ({"market": "24/7", "kind": "CRYPTOCURRENCY"}, Instrument("24/7", "USD", "crypto")),
        ({"market": "FX", "kind": "CURRENCY", "currency": "JPY"}, Instrument("FX", "JPY", "currency")),
        ({"exchange": "SNP", "kind": "INDEX"}, Instrument("XNYS", "USD", "index")),
        ({"exchange": "PCX", "kind": "ETF"}, Instrument("XNYS", "USD", "etf")),
        ({"exchange": "???", "kind": "MUTUALFUND"}, Instrument(None, "USD", "")),
    ],
)
def test_yahoo_says_what_a_symbol_is(yahoo, provider, listed, instrument):
    yahoo.market.add("X", bars={"1d": bars(DATES)}, **listed)
    assert provider.fetch({"X": None}, DAILY, NOW).instruments == {"X": instrument}


def test_a_renamed_symbol_is_a_failure_that_tells_the_new_name(yahoo, provider):
    yahoo.market.add("FB", bars={"1d": bars(DATES)})
    yahoo.market.rename("FB", "META", NOW - timedelta(days=1))
    fetched = provider.fetch({"FB": None}, DAILY, NOW)
    assert fetched.failures["FB"].message == "Yahoo now calls FB META"
    assert fetched.bars.is_empty()


@pytest.mark.parametrize("symbol", ["../AAPL", "", "A B", "AAPL?range=max", "ÄPFEL"])
def test_what_cannot_be_a_symbol_is_never_sent(yahoo, provider, symbol):
    assert isinstance(provider.fetch({symbol: None}, DAILY, NOW).failures[symbol], UnknownSymbol)
    assert yahoo.requests == []


@pytest.mark.parametrize("symbol", ["BRK-B", "^GSPC", "EURUSD=X", "M&M.NS", "0P0000XTS7", "ES=F"])
def test_symbols_of_every_spelling_are_asked_for_as_they_are_written(yahoo, provider, symbol):
    yahoo.market.add(symbol, bars={"1d": bars(DATES)})
    assert set(provider.fetch({symbol: None}, DAILY, NOW).bars["symbol"]) == {symbol}


@pytest.mark.parametrize("name", ["30m", "4h", "1wk"])
def test_timeframes_that_yahoo_builds_badly_are_not_asked_for(yahoo, provider, name):
    assert name not in provider.native
    assert isinstance(provider.fetch({"AAPL": None}, TIMEFRAMES[name], NOW).failures["AAPL"], UnknownSymbol)
    assert yahoo.requests == []


@pytest.mark.parametrize(
    ("market", "intraday", "daily"),
    [("XNYS", 0, 0), ("24/7", 0, 0), ("FX", 0, 0), ("XHKG", 15, 0), ("XLON", 20, 5), ("XTKS", 20, 5), ("XSWX", 30, 15)],
)
def test_how_late_yahoo_knows_a_market(tmp_path, market, intraday, daily):
    provider = YahooProvider(tmp_path)
    assert provider.lag(market, FIVE) == timedelta(minutes=intraday)
    assert provider.lag(market, DAILY) == timedelta(minutes=daily)


def test_every_exchange_of_yahoos_has_a_market_of_ours():
    assert set(yahoo_names.MARKETS.values()) <= MARKETS


def test_closing_ends_a_fetch_that_waits_for_its_turn(yahoo, fresh_yfinance, symbols, tmp_path):
    provider = YahooProvider(tmp_path / "cache", requests_per_second=0.001)
    given = []
    fetching = Thread(target=lambda: given.append(provider.fetch(dict.fromkeys(symbols), DAILY, NOW)))
    fetching.start()
    yahoo.wait_for(5)
    provider.close()
    fetching.join(10)
    assert len(given[0].as_of) == 3
    assert {type(failure) for failure in given[0].failures.values()} == {ProviderError}


def test_a_closed_provider_fails_every_symbol(yahoo, provider):
    provider.close()
    assert type(provider.fetch({"AAPL": None}, DAILY, NOW).failures["AAPL"]) is ProviderError
    assert yahoo.requests == []


def test_the_cookie_is_kept_in_the_given_folder(yahoo, provider, symbols, tmp_path):
    provider.fetch({"S00": None}, DAILY, NOW)
    assert (tmp_path / "cache" / "cookies.db").exists()


def test_making_a_provider_loads_nothing_heavy():
    code = (
        "import sys, pathlib; from monitor.providers.yahoo import YahooProvider; YahooProvider(pathlib.Path('x'));"
        "print([m for m in ('yfinance', 'pandas', 'curl_cffi') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_session_of_the_day_and_the_time_at_yahoo_are_told(yahoo, provider):
    yahoo.market.add("X", bars={"1d": bars(DATES)})
    yahoo.market.at(NOW)
    given = provider.fetch({"X": None}, DAILY, NOW)
    assert given.hours == {"X": (OPEN, OPEN + timedelta(hours=6, minutes=30))}
    assert given.told_at == NOW
