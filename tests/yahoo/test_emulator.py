"""The real yfinance against the emulator: what it is served, and how it fails."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from fractions import Fraction
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from tests.yahoo.chart import chart
from tests.yahoo.faults import Fault, blank, doubled, flat, late, missing, revised, scaled, snapshot
from tests.yahoo.market import Dividend, StockSplit, YahooMarket
from tests.yahoo.server import YahooEmulator
from tests.yahoo.walk import labels, walk

NOON = datetime(2026, 1, 14, 17, 0, 30, tzinfo=UTC)  # in New York, a Wednesday
MINUTE = timedelta(minutes=1)
DAYS = walk(labels("XNYS", "1d", date(2025, 12, 1), date(2026, 1, 30)), "days", step=0.02)
MINUTES = walk(labels("XNYS", "1m", date(2026, 1, 12), date(2026, 1, 16)), "minutes")
SCRIPT = """
import sys, yfinance
yfinance.set_tz_cache_location(sys.argv[1])
print(len(yfinance.Ticker("AAPL").history(start="2026-01-05", auto_adjust=False)))
"""
CHART = "/v8/finance/chart/"
OTHERWISE_KNOWN = {  # of the price and its past, which a few recorded days do not tell
    "chartPreviousClose", "fiftyTwoWeekHigh", "fiftyTwoWeekLow", "firstTradeDate", "hasPrePostMarketData", "longName",
    "regularMarketDayHigh", "regularMarketDayLow", "regularMarketPrice", "regularMarketTime", "regularMarketVolume",
    "shortName",
}  # fmt: skip
DATA = Path(os.environ.get("BARWATCH_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
RECORDED = DATA / "yahoo_raw_json"


def history(yf, symbol="AAPL", interval="1d", start=datetime(2026, 1, 5, 5, tzinfo=UTC), **options):
    """What yfinance makes of the bars from `start` on."""
    fixed = {"auto_adjust": False, "actions": True, "keepna": True, "timeout": 5}
    return yf.Ticker(symbol).history(interval=interval, start=start, **fixed | options)


def minutes(yf, symbol="AAPL", back=5 * MINUTE, **options):
    return history(yf, symbol, "1m", NOON - back, **options)


def day(number, month=1, year=2026):
    return datetime(year, month, number, tzinfo=UTC)


def known(frame, label):
    """The row of a label of bars that were made up."""
    return frame.filter(frame["ts"] == label).row(0, named=True)


def failure(call):
    """What a call raises."""
    try:
        call()
    except Exception as failed:
        return failed
    return None


def endpoints(yahoo):
    return [request.endpoint for request in yahoo.requests]


@pytest.fixture
def yf(yahoo, fresh_yfinance):
    """yfinance, and a Yahoo that knows AAPL."""
    yahoo.market.at(NOON)
    yahoo.market.add("AAPL", bars={"1d": DAYS, "1m": MINUTES})
    return fresh_yfinance


@pytest.fixture
def warm(yahoo, yf):
    """The same, with the cookie, the crumb and the time zone of AAPL known already."""
    history(yf)
    yahoo.reset()
    return yf


def test_yfinance_gets_the_daily_bars_as_they_were_added(yf):
    closed = history(yf)[:-1]
    wanted = DAYS.filter(DAYS["ts"].is_between(day(5), day(13)))
    assert [label.date() for label in closed.index] == [label.date() for label in wanted["ts"]]
    for name in ("open", "high", "low", "close", "volume"):
        assert closed[name.title()].tolist() == wanted[name].to_list()


def test_yfinance_gets_the_minutes_labelled_by_their_starts(yf):
    got = minutes(yf)
    starts = [datetime(2026, 1, 14, 16, 56, tzinfo=UTC) + number * MINUTE for number in range(5)]
    assert [label.to_pydatetime() for label in got.index] == starts
    assert got["Close"].tolist()[:-1] == [known(MINUTES, start)["close"] for start in starts[:-1]]


def test_the_running_bar_is_part_of_the_final_one_and_closes_elsewhere(yf):
    running, final = minutes(yf).iloc[-1], known(MINUTES, NOON.replace(second=0))
    assert running["Close"] != final["close"]
    assert final["low"] <= running["Low"] <= running["Close"] <= running["High"] <= final["high"]
    assert 0 < running["Volume"] < final["volume"]


def test_the_running_day_is_made_of_its_minutes(yf):
    running, so_far = history(yf).iloc[-1], minutes(yf, back=timedelta(hours=3))
    assert running["Open"] == so_far["Open"].iloc[0]
    assert running["High"] == so_far["High"].max()
    assert running["Close"] == so_far["Close"].iloc[-1]


def test_a_bar_is_not_shown_before_it_begins(yahoo, yf):
    yahoo.market.at(datetime(2026, 1, 14, 14, 29, 59, tzinfo=UTC))
    assert history(yf).index[-1].date() == date(2026, 1, 13)


def test_a_cold_start_asks_for_cookie_crumb_and_zone_and_then_once_a_call(yahoo, yf):
    history(yf)
    assert endpoints(yahoo) == ["cookie", "crumb", "chart", "chart"]
    history(yf)
    assert endpoints(yahoo)[4:] == ["chart"]


def test_a_request_is_recorded_as_it_came(yahoo, yf):
    history(yf)
    last = yahoo.requests[-1]
    assert (last.host, last.path, last.at, last.status) == (
        "query2.finance.yahoo.com", "/v8/finance/chart/AAPL", NOON, 200
    )  # fmt: skip
    assert last.query["period1"] == str(int(day(5).timestamp()) + 5 * 3600)


@pytest.mark.parametrize(
    ("fault", "error", "requests"),
    [
        (Fault.UNKNOWN, "YFPricesMissingError: No data found", 3),
        (Fault.BAD_REQUEST, "YFPricesMissingError: Data doesn't exist", 3),
        (Fault.UNPROCESSABLE, "YFPricesMissingError: 1h data not available", 3),
        (Fault.INVALID_CRUMB, "YFPricesMissingError: None", 3),
        (Fault.RATE_LIMITED, "YFRateLimitError", 3),
        (Fault.SERVER_ERROR, "JSONDecodeError", 3),
        (Fault.BAD_GATEWAY, "JSONDecodeError", 3),
        (Fault.DENIED, "JSONDecodeError", 3),
        (Fault.PAGE, "JSONDecodeError", 1),
        (Fault.WILL_BE_RIGHT_BACK, "YFDataException", 1),
        (Fault.HANG, "Timeout", 1),
        (Fault.RESET, "ConnectionError", 2),
        (Fault.DOWN, "ConnectionError", 2),
        (Fault.NO_TIMESTAMP, "KeyError", 1),
        (Fault.NO_BARS, "YFPricesMissingError: None", 1),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_each_fault_is_told_by_its_exception(yahoo, warm, fault, error, requests):
    yahoo.market.fail(fault)
    failed = failure(lambda: history(warm, timeout=0.2))
    reason = f": {failed.yahoo_reason}" if hasattr(failed, "yahoo_reason") else ""
    assert f"{type(failed).__name__}{reason}".startswith(error)
    assert len(yahoo.requests) == requests


def test_yfinance_recovers_when_a_fault_is_over(yahoo, warm):
    yahoo.market.fail(Fault.RATE_LIMITED, times=2)
    with pytest.raises(warm.exceptions.YFRateLimitError):
        history(warm)
    assert len(history(warm)) == 8


def test_a_fault_strikes_only_its_symbols_and_its_time(yahoo, warm):
    yahoo.market.add("IBM", bars={"1d": DAYS})
    yahoo.market.fail(Fault.RATE_LIMITED, "IBM", start=NOON, end=NOON + MINUTE)
    assert len(history(warm)) == 8
    with pytest.raises(warm.exceptions.YFRateLimitError):
        history(warm, "IBM")
    yahoo.market.at(NOON + MINUTE)
    assert len(history(warm, "IBM")) == 8


def test_the_first_two_unknown_symbols_fail_in_another_way_than_the_third(yahoo, warm):
    told = []
    for symbol in ("NONE1", "NONE2", "NONE3"):
        failed = failure(lambda symbol=symbol: history(warm, symbol))
        told.append((type(failed).__name__, len(yahoo.requests)))
        yahoo.reset()
    assert told == [("HTTPError", 6), ("HTTPError", 6), ("YFTzMissingError", 3)]


def test_yfinance_keeps_a_failed_time_zone_look_up_and_does_not_ask_again(yahoo, yf):
    yahoo.market.fail(Fault.SERVER_ERROR)
    for _ in range(2):
        with pytest.raises(json.JSONDecodeError):
            history(yf)
        yahoo.reset()
    assert yahoo.requests == []
    yf.data.YfData.cache_get.cache_clear()
    assert len(history(yf)) == 8


@pytest.mark.parametrize("fault", [Fault.CRUMB_RATE_LIMITED, Fault.CRUMB_POISONED], ids=lambda fault: fault.name)
def test_yfinance_takes_the_text_of_a_ban_for_the_crumb(yahoo, yf, fault):
    yahoo.market.fail(fault, times=1)
    history(yf)
    assert [request.query.get("crumb") for request in yahoo.requests[2:]] == [None, "Too Many Requests\r\n"]


def test_a_chart_that_asks_for_the_crumb_gets_a_good_one_at_the_repeat(yahoo, yf):
    yahoo.market.asks_for_crumb = True
    yahoo.market.fail(Fault.CRUMB_RATE_LIMITED, times=1)
    history(yf)
    statuses = [request.status for request in yahoo.requests if request.endpoint == "chart"]
    assert statuses == [401, 200, 200]


def test_without_the_cookie_host_yfinance_agrees_like_a_european(yahoo, yf):
    yahoo.market.fail(Fault.COOKIE_RESET)
    history(yf)
    hosts = [request.host.partition(".")[0] for request in yahoo.requests]
    assert hosts[:8] == ["fc", "guce", "consent", "consent", "guce", "finance", "guce", "finance"]
    assert yahoo.requests[-1].query["crumb"]


@pytest.mark.parametrize(
    ("interval", "back", "reason"),
    [
        ("1m", 9, "Only 8 days worth of 1m granularity data are allowed to be fetched per request."),
        ("5m", 61, "The requested range must be within the last 60 days."),
        ("1h", 731, "The requested range must be within the last 730 days."),
    ],
)
def test_too_long_a_look_back_is_refused_in_yahoos_words(warm, interval, back, reason):
    with pytest.raises(warm.exceptions.YFPricesMissingError) as caught:
        history(warm, interval=interval, start=NOON - timedelta(days=back))
    assert caught.value.yahoo_reason.startswith(f"{interval} data not available for startTime=")
    assert caught.value.yahoo_reason.endswith(reason)


def test_minutes_older_than_30_days_are_refused_however_few(warm):
    start = NOON - timedelta(days=31)
    with pytest.raises(warm.exceptions.YFPricesMissingError) as caught:
        history(warm, interval="1m", start=start, end=start + timedelta(days=1))
    assert caught.value.yahoo_reason.endswith("must be within the last 30 days.")


def test_a_range_of_days_is_one_of_days_of_trading(warm):
    got = warm.Ticker("AAPL").history(period="5d", auto_adjust=False)
    assert [label.day for label in got.index] == [8, 9, 12, 13, 14]


def test_what_the_chart_says_of_a_symbol(yahoo, yf):
    stamps = labels("XTKS", "1d", date(2025, 12, 1), date(2026, 1, 30))
    yahoo.market.add("7203.T", bars={"1d": walk(stamps, "toyota")}, market="XTKS", currency="JPY")
    known_of = yf.Ticker("7203.T")
    got = known_of.history(start="2026-01-05", auto_adjust=False)
    said = known_of.history_metadata
    assert (said["exchangeName"], said["currency"], said["instrumentType"]) == ("JPX", "JPY", "EQUITY")
    assert (said["exchangeTimezoneName"], said["gmtoffset"]) == ("Asia/Tokyo", 9 * 3600)
    assert said["regularMarketTime"].isoformat() == "2026-01-14T15:30:00+09:00"
    assert got.index[-1].isoformat() == "2026-01-14T00:00:00+09:00"


@pytest.mark.parametrize(
    ("market", "on", "opens", "closes"),
    [
        ("XNYS", date(2025, 11, 26), "14:30", "21:00"),
        ("XNYS", date(2025, 11, 28), "14:30", "18:00"),
        ("XNYS", date(2026, 3, 9), "13:30", "20:00"),
        ("XLON", date(2025, 12, 24), "08:00", "12:30"),
        ("XHKG", date(2026, 1, 14), "01:30", "08:00"),
        ("24/7", date(2026, 1, 14), "00:00", "23:59"),
        ("FX", date(2026, 1, 14), "00:00", "23:59"),
    ],
    ids=["whole", "half-day", "summer", "London half-day", "lunch", "crypto", "currencies"],
)
def test_the_hours_of_a_day(market, on, opens, closes):
    yahoo = YahooMarket()
    yahoo.add("X", bars={"1h": walk(labels(market, "1h", on, on), "x")}, market=market)
    at = datetime(on.year, on.month, on.day, 12, tzinfo=UTC)
    asked = {"interval": "1h", "period1": str(int(at.timestamp()) - 3600), "period2": str(int(at.timestamp()))}
    [[period]] = chart(yahoo, "X", asked, at)["chart"]["result"][0]["meta"]["tradingPeriods"]
    told = [datetime.fromtimestamp(period[end], UTC).strftime("%H:%M") for end in ("start", "end")]
    assert told == [opens, closes]


def test_the_last_hour_of_new_york_is_half_an_hour():
    stamps = labels("XNYS", "1h", date(2026, 1, 14), date(2026, 1, 14))
    yahoo = YahooMarket()
    yahoo.add("X", bars={"1h": walk(stamps, "x")})
    ends = yahoo.listings["X"].bars["1h"]["end"].to_list()
    assert [(end - start).seconds // 60 for start, end in zip(stamps, ends, strict=True)] == [60] * 6 + [30]


def test_yfinance_drops_the_last_minute_of_a_crypto_day(yahoo, yf):
    stamps = labels("24/7", "1m", date(2026, 1, 13), date(2026, 1, 14))
    yahoo.market.add("BTC-USD", bars={"1m": walk(stamps, "btc")}, market="24/7", kind="CRYPTOCURRENCY")
    around = {"interval": "1m", "start": datetime(2026, 1, 13, 23, 58, tzinfo=UTC)}
    assert [label.minute for label in history(yf, "BTC-USD", **around).index[:2]] == [58, 0]
    assert [label.minute for label in history(yf, "BTC-USD", prepost=True, **around).index[:2]] == [58, 59]


def split(on=date(2026, 1, 14), **options):
    return StockSplit(on, Fraction(4), **options)


def test_a_split_rewrites_all_before_it_at_the_open(yahoo, yf):
    yahoo.market.add("AAPL", bars={"1d": DAYS}, splits=[split()])
    yahoo.market.at(datetime(2026, 1, 14, 14, 29, tzinfo=UTC))
    assert history(yf)["Close"].iloc[-1] == known(DAYS, day(13))["close"]
    yahoo.market.at(NOON)
    after = history(yf)
    assert after["Close"].iloc[-2] == known(DAYS, day(13))["close"] / 4
    assert after["Open"].iloc[-1] == known(DAYS, day(14))["open"]
    assert after["Stock Splits"].tolist()[-2:] == [0, 4]


def test_intraday_bars_can_stay_unadjusted_on_the_day_of_a_split(yahoo, yf):
    yahoo.market.add("AAPL", bars={"1d": DAYS, "1m": MINUTES}, splits=[split(intraday_waits=True)])
    traded = known(MINUTES, datetime(2026, 1, 13, 20, 59, tzinfo=UTC))["close"]
    before = NOON - datetime(2026, 1, 13, 20, 59, tzinfo=UTC)
    assert minutes(yf, back=before)["Close"].iloc[0] == traded
    assert history(yf)["Close"].iloc[-2] == known(DAYS, day(13))["close"] / 4
    yahoo.market.at(NOON + timedelta(days=1))
    assert minutes(yf, back=before)["Close"].iloc[0] == traded / 4


def test_a_dividend_moves_only_the_adjusted_close(yahoo, yf):
    yahoo.market.add("AAPL", bars={"1d": DAYS}, dividends=[Dividend(date(2026, 1, 14), 0.5)])
    got, before = history(yf), known(DAYS, day(13))["close"]
    assert got["Close"].iloc[-2] == before
    assert got["Adj Close"].iloc[-2] == pytest.approx(before - 0.5)
    assert got["Dividends"].tolist()[-2:] == [0, 0.5]


def test_before_the_open_an_ex_dividend_day_is_a_row_without_prices(yahoo, yf):
    yahoo.market.add("AAPL", bars={"1d": DAYS}, dividends=[Dividend(date(2026, 1, 14), 0.5)])
    yahoo.market.at(datetime(2026, 1, 14, 9, tzinfo=UTC))
    last = history(yf).iloc[-1]
    assert last.name.date() == date(2026, 1, 14)
    assert last.isna()["Close"]


def test_a_missing_session_is_filled_later(yahoo, warm):
    yahoo.market.edit("AAPL", "1d", missing(day(12)), end=NOON + timedelta(days=2))
    assert [label.day for label in history(warm).index[-3:]] == [9, 13, 14]
    yahoo.market.at(NOON + timedelta(days=2))
    assert 12 in [label.day for label in history(warm).index]


def test_a_bar_is_revised_from_an_instant_on(yahoo, warm):
    yahoo.market.edit("AAPL", "1d", revised(day(13), close=1.5), start=NOON)
    assert history(warm)["Close"].iloc[-2] == 1.5
    yahoo.market.at(NOON - MINUTE)
    assert history(warm)["Close"].iloc[-2] == known(DAYS, day(13))["close"]


def test_some_rows_are_in_pence_for_a_while(yahoo, warm):
    yahoo.market.edit("AAPL", "1d", scaled(100, day(12), day(13)), end=NOON + MINUTE)
    shown = history(warm)["Close"]
    assert shown.iloc[-2] == known(DAYS, day(13))["close"] * 100
    assert shown.iloc[-4] == known(DAYS, day(9))["close"]


def test_a_row_can_be_blank_and_keep_its_volume(yahoo, warm):
    yahoo.market.edit("AAPL", "1d", blank(day(12)))
    yahoo.market.edit("AAPL", "1d", blank(day(13), volume=True))
    rows = history(warm).iloc[-3:-1]
    assert rows["Close"].isna().all()
    assert rows["Volume"].tolist() == [0, known(DAYS, day(13))["volume"]]


def test_of_two_rows_of_the_last_day_yfinance_keeps_the_later(yahoo, warm):
    yahoo.market.edit("AAPL", "1d", doubled(day(14), close=1.5))
    assert history(warm)["Close"].iloc[-1] == 1.5


def test_of_two_rows_of_an_earlier_day_yfinance_keeps_the_first(yahoo, warm):
    yahoo.market.edit("AAPL", "1d", doubled(day(13), close=1.5))
    assert history(warm)["Close"].iloc[-2] == known(DAYS, day(13))["close"]


def test_yfinance_merges_a_live_row_into_the_running_bar(yahoo, warm):
    plain, asked = minutes(warm), {"interval": "1m", "range": "1d"}
    yahoo.market.edit("AAPL", "1m", snapshot())
    sent = chart(yahoo.market, "AAPL", asked, NOON)["chart"]["result"][0]["timestamp"]
    assert sent[-2:] == [int(NOON.timestamp()) - 30, int(NOON.timestamp())]
    assert minutes(warm).equals(plain)


def test_a_live_row_in_the_place_of_the_running_bar_is_left_as_it_is(yahoo, warm):
    yahoo.market.edit("AAPL", "1m", snapshot(instead=True))
    live = minutes(warm).iloc[-1]
    assert live.name.to_pydatetime() == NOON
    assert live["Open"] == live["High"] == live["Low"] == live["Close"]
    assert live["Volume"] == 0


def test_rows_can_come_late(yahoo, warm):
    yahoo.market.edit("AAPL", "1m", late(2 * MINUTE))
    assert minutes(warm).index[-1].minute == 57


def test_a_delayed_exchange_is_shown_as_it_was(yahoo, warm):
    yahoo.market.add("AZN.L", bars={"1m": MINUTES}, delay=15 * MINUTE, currency="GBp")
    azn = warm.Ticker("AZN.L")
    got = azn.history(interval="1m", start=NOON - timedelta(minutes=20), auto_adjust=False)
    assert got.index[-1].to_pydatetime() == datetime(2026, 1, 14, 16, 45, tzinfo=UTC)
    assert azn.history_metadata["regularMarketTime"].to_pydatetime() == NOON - 15 * MINUTE


def test_a_suspended_share_has_flat_rows_without_volume(yahoo, warm):
    yahoo.market.edit("AAPL", "1d", flat(day(12), day(14)))
    rows, last = history(warm).iloc[-3:], known(DAYS, day(9))["close"]
    assert rows[["Open", "High", "Low", "Close"]].eq(last).all(axis=None)
    assert rows["Volume"].tolist() == [0, 0, 0]


def test_the_volume_of_the_first_intraday_row_is_understated(yahoo, warm):
    plain = minutes(warm)["Volume"].tolist()
    yahoo.market.understates = True
    shown = minutes(warm)["Volume"].tolist()
    assert shown[0] < plain[0]
    assert shown[1:] == plain[1:]


def test_an_edge_cache_gives_the_same_old_answer_for_30_seconds(yahoo, yf):
    yahoo.market.edge = timedelta(seconds=30)
    asked = {"interval": "1m", "start": NOON - 5 * MINUTE, "end": NOON + MINUTE}
    yahoo.market.at(NOON.replace(second=10))
    first = history(yf, **asked)
    assert first.index[-1].minute == 59
    yf.data.YfData.cache_get.cache_clear()
    yahoo.market.at(NOON.replace(second=39))
    assert history(yf, **asked).equals(first)
    yf.data.YfData.cache_get.cache_clear()
    yahoo.market.at(NOON.replace(second=40))
    assert history(yf, **asked).index[-1].minute == 0


def test_a_renamed_symbol_answers_under_its_new_name(yahoo, warm):
    yahoo.market.rename("AAPL", "PEAR", NOON)
    for symbol in ("AAPL", "PEAR"):
        asked = warm.Ticker(symbol)
        assert len(asked.history(start="2026-01-05", auto_adjust=False)) == 8
        assert asked.history_metadata["symbol"] == "PEAR"


def test_intervals_that_were_not_given_are_built_from_the_finest(yahoo, yf):
    hour = history(yf, interval="1h", start=day(14)).iloc[1]
    first, last = datetime(2026, 1, 14, 15, 30, tzinfo=UTC), datetime(2026, 1, 14, 16, 29, tzinfo=UTC)
    assert hour.name.to_pydatetime() == first
    assert (hour["Open"], hour["Close"]) == (known(MINUTES, first)["open"], known(MINUTES, last)["close"])


def test_the_emulator_closes_at_once_while_a_client_hangs(yf):
    with ThreadPoolExecutor(1) as pool, yf.data.new_session() as session:
        with YahooEmulator() as other:
            other.market.fail(Fault.HANG)
            session.verify, session.proxies = str(other.ca_file), {"https": other.url}
            asking = pool.submit(failure, lambda: session.get(f"https://query2.finance.yahoo.com{CHART}AAPL"))
            other.wait_for(1)
            began = time.monotonic()
        assert time.monotonic() - began < 1
        assert type(asking.result(5)).__name__ == "ConnectionError"


def test_answers_are_dated_by_the_emulated_clock(yahoo, yf):
    with yf.data.new_session() as session:
        answer = session.get("https://query2.finance.yahoo.com" + CHART + "AAPL")
    assert answer.headers["date"] == "Wed, 14 Jan 2026 17:00:30 GMT"


def test_no_other_host_is_reached_through_it(yahoo, yf):
    with yf.data.new_session() as session, pytest.raises(Exception, match="502"):
        session.get("https://example.org/")
    assert yahoo.requests == []


def test_a_subprocess_takes_it_for_yahoo(yahoo, tmp_path):
    yahoo.market.add("AAPL", bars={"1d": DAYS})
    yahoo.market.at(NOON)
    command, environment = [sys.executable, "-c", SCRIPT, str(tmp_path)], os.environ | yahoo.environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["8"]


def recorded(name):
    """A request that Yahoo was asked once, when that was, and the answer."""
    exchange = json.loads((RECORDED / f"chart-{name}.json").read_text())
    asked = dict(parse_qsl(urlsplit(exchange["request"]["url"]).query))
    at = parsedate_to_datetime(exchange["response"]["headers"]["date"])
    return asked, at, exchange["response"]["bodyJson"]["chart"]["result"][0]


def as_recorded(market, wanted):
    """A Yahoo that knows what it said once."""
    said, yahoo = wanted["meta"], YahooMarket()
    dates = [datetime.fromtimestamp(stamp, ZoneInfo(said["exchangeTimezoneName"])) for stamp in wanted["timestamp"]]
    columns = {"ts": [datetime(on.year, on.month, on.day, tzinfo=UTC) for on in dates]} | wanted["indicators"]["quote"][
        0
    ]
    actions = {"splits": [split(date(2020, 8, 31))], "dividends": [Dividend(date(2020, 11, 6), 0.205)]}
    about = {"market": market, "currency": said["currency"], "kind": said["instrumentType"]}
    bars = {"1d": pl.DataFrame(columns, strict=False)}
    yahoo.add(said["symbol"], bars=bars, **about, **(actions if "events" in wanted else {}))
    return yahoo


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded answers of Yahoo are not part of the repository")
@pytest.mark.parametrize(
    ("name", "market"),
    [
        ("AAPL-2020-08-31-to-2020-11-07", "XNYS"),
        ("BTC-USD-2020-01-01-to-2020-01-03", "24/7"),
        ("OCDO.L-2020-01-01-to-2020-01-03", "XLON"),
        ("EURUSD=X-2020-01-01-to-2020-01-03", "FX"),
        ("WSU.DE-2023-08-04-to-2023-08-09", "XETR"),
    ],
)
def test_the_chart_is_the_one_that_yahoo_gave(name, market):
    asked, at, wanted = recorded(name)
    given = chart(as_recorded(market, wanted), wanted["meta"]["symbol"], asked, at)["chart"]["result"][0]
    for answer in (given, wanted):
        answer["meta"] = {key: value for key, value in answer["meta"].items() if key not in OTHERWISE_KNOWN}
        answer["meta"]["currentTradingPeriod"] = answer["meta"]["currentTradingPeriod"]["regular"]
        answer["indicators"]["adjclose"][0]["adjclose"] = len(answer["indicators"]["adjclose"][0]["adjclose"])
    assert given == wanted
