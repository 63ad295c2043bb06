"""Which of Yahoo's rows the yahoo provider takes for bars, through the real yfinance."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest

from monitor.core.adjust import Split
from monitor.core.bars import RAW_SCHEMA, violations
from monitor.core.timeframe import TIMEFRAMES
from monitor.ports import Instrument
from monitor.providers.chart import Answer, read_chart
from monitor.providers.yahoo import YahooProvider
from tests.yahoo.faults import blank, doubled, flat, revised, snapshot
from tests.yahoo.market import Dividend, StockSplit

NOW = datetime(2026, 1, 14, 17, tzinfo=UTC)
OPEN = datetime(2026, 1, 14, 14, 30, tzinfo=UTC)
DAILY, FIVE, HOUR = (TIMEFRAMES[name] for name in ("1d", "5m", "1h"))
DATES = [datetime(2026, 1, day, tzinfo=UTC) for day in (5, 6, 7, 8, 9, 12, 13, 14)]
TODAY = DATES[-1]
FIVES = [OPEN + number * timedelta(minutes=5) for number in range(30)]


def bars(labels: list[datetime]) -> pl.DataFrame:
    """Rising bars, each unlike the others."""
    number = pl.Series(range(len(labels)), dtype=pl.Float64)
    prices = {"open": number + 100, "high": number + 102, "low": number + 99, "close": number + 101}
    return pl.DataFrame({"ts": labels, **prices, "volume": number * 10 + 1000})


@pytest.fixture
def provider(fresh_yfinance, tmp_path):
    opened = YahooProvider(tmp_path / "cache", requests_per_second=1000)
    yield opened
    opened.close()


@pytest.fixture
def fetched(yahoo, provider):
    """All that is had of one symbol, which is sound in any case."""

    def fetch(timeframe, since=None, *, now=NOW):
        given = provider.fetch({"X": since}, timeframe, now)
        assert given.failures == {}
        assert given.bars.schema == RAW_SCHEMA
        assert violations(given.bars) == []
        return given

    return fetch


def labels(given) -> list[datetime]:
    return given.bars["ts"].to_list()


@pytest.mark.parametrize(
    ("market", "zone", "now"),
    [
        ("XTKS", "Asia/Tokyo", datetime(2026, 1, 14, 3, tzinfo=UTC)),
        ("XASX", "Australia/Sydney", datetime(2026, 1, 13, 23, 30, tzinfo=UTC)),
        ("XNYS", "America/New_York", NOW),
        ("24/7", "UTC", NOW),
    ],
)
def test_a_daily_label_is_the_date_at_the_exchange(yahoo, fetched, market, zone, now):
    yahoo.market.add("X", bars={"1d": bars(DATES)}, market=market, zone=zone)
    yahoo.market.at(now)
    assert labels(fetched(DAILY, now=now)) == DATES
    given = fetched(DAILY, DATES[3], now=now)
    assert labels(given) == DATES[3:]
    assert DATES[-2] < given.seen["X"] <= now


def test_a_daily_label_of_a_currency_is_londons_date_in_summer_too(yahoo, fetched):
    days = [datetime(2026, 7, day, tzinfo=UTC) for day in (6, 7, 8)]
    now = datetime(2026, 7, 8, 12, tzinfo=UTC)
    yahoo.market.add("X", bars={"1d": bars(days)}, market="FX", kind="CURRENCY")
    yahoo.market.at(now)
    assert labels(fetched(DAILY, days[1], now=now)) == days[1:]


def test_the_running_bar_is_the_last(yahoo, fetched):
    yahoo.market.add("X", bars={"1d": bars(DATES), "5m": bars(FIVES)})
    given = fetched(DAILY)
    assert labels(given)[-1] == TODAY
    assert given.bars["volume"][-1] < bars(FIVES)["volume"].sum() + 1


def test_a_live_row_is_no_bar(yahoo, fetched):
    yahoo.market.add("X", bars={"5m": bars(FIVES)})
    yahoo.market.edit("X", "5m", snapshot())
    now = FIVES[20] + timedelta(seconds=137)
    yahoo.market.at(now)
    assert labels(fetched(FIVE, FIVES[10], now=now)) == FIVES[10:21]


@pytest.mark.parametrize("seconds", [137, 120, 0])
def test_a_live_row_in_place_of_the_running_bar_is_no_bar(yahoo, fetched, seconds):
    yahoo.market.add("X", bars={"5m": bars(FIVES)})
    yahoo.market.edit("X", "5m", snapshot(instead=True))
    now = FIVES[20] + timedelta(seconds=seconds)
    yahoo.market.at(now)
    given = fetched(FIVE, FIVES[10], now=now)
    assert labels(given) == FIVES[10:20]
    assert given.quiet.is_empty()


@pytest.mark.parametrize("seconds", [137, 120, 0])
@pytest.mark.parametrize("kind", ["INDEX", "CURRENCY"])
def test_a_live_row_of_a_kind_without_volume_is_known_by_its_time(yahoo, fetched, kind, seconds):
    yahoo.market.add("X", bars={"5m": bars(FIVES)}, kind=kind)
    yahoo.market.edit("X", "5m", snapshot(instead=True))
    now = FIVES[20] + timedelta(seconds=seconds)
    yahoo.market.at(now)
    assert labels(fetched(FIVE, FIVES[10], now=now)) == FIVES[10:20]


def test_a_live_row_at_the_closing_bell_is_no_bar(yahoo, fetched):
    session = [OPEN + number * timedelta(minutes=60) for number in range(7)]
    yahoo.market.add("X", bars={"1h": bars(session)})
    yahoo.market.edit("X", "1h", snapshot())
    now = datetime(2026, 1, 14, 21, 5, tzinfo=UTC)
    yahoo.market.at(now)
    assert labels(fetched(HOUR, session[2], now=now)) == session[2:]


def test_a_live_row_in_place_of_todays_daily_bar_is_neither_a_bar_nor_quiet(yahoo, fetched):
    yahoo.market.add("X", bars={"1d": bars(DATES)})
    yahoo.market.edit("X", "1d", snapshot(instead=True))
    given = fetched(DAILY)
    assert (labels(given), given.quiet.height) == (DATES[:-1], 0)


def test_a_live_row_tells_that_the_bar_before_it_has_ended(yahoo, fetched):
    yahoo.market.add("X", bars={"5m": bars(FIVES)})
    yahoo.market.edit("X", "5m", snapshot(instead=True))
    now = FIVES[20] + timedelta(seconds=137)
    yahoo.market.at(now)
    assert fetched(FIVE, FIVES[10], now=now).seen["X"] >= FIVES[20]


def test_of_two_rows_of_today_the_later_wins(yahoo, fetched):
    yahoo.market.add("X", bars={"1d": bars(DATES)})
    yahoo.market.edit("X", "1d", doubled(TODAY, volume=77.0))
    given = fetched(DAILY)
    assert labels(given) == DATES
    assert given.bars["volume"][-1] == 77


@pytest.mark.parametrize("volume", [False, True])
def test_rows_without_prices_are_no_bars(yahoo, fetched, volume):
    yahoo.market.add("X", bars={"1d": bars(DATES)})
    yahoo.market.edit("X", "1d", blank(DATES[3], volume=volume))
    given = fetched(DAILY)
    assert labels(given) == [*DATES[:3], *DATES[4:]]
    assert given.quiet.is_empty()


def test_a_dividend_before_the_bell_makes_no_bar(yahoo, fetched):
    now = datetime(2026, 1, 14, 14, 10, tzinfo=UTC)
    yahoo.market.add("X", bars={"1d": bars(DATES)}, dividends=[Dividend(date(2026, 1, 14), 0.25)])
    yahoo.market.at(now)
    given = fetched(DAILY, DATES[2], now=now)
    assert labels(given) == DATES[2:-1]


def test_prices_are_never_adjusted_for_dividends(yahoo, fetched):
    yahoo.market.add("X", bars={"1d": bars(DATES)}, dividends=[Dividend(date(2026, 1, 9), 5.0)])
    assert fetched(DAILY).bars["close"][:-1].equals(bars(DATES)["close"][:-1])


def test_a_suspended_share_is_quiet(yahoo, fetched):
    yahoo.market.add("X", bars={"1d": bars(DATES)})
    yahoo.market.edit("X", "1d", flat(DATES[4], DATES[6]))
    given = fetched(DAILY)
    assert labels(given) == [*DATES[:4], TODAY]
    assert given.quiet.rows() == [("X", label) for label in DATES[4:7]]


@pytest.mark.parametrize("kind", ["CURRENCY", "INDEX", "CRYPTOCURRENCY", "FUTURE", "MUTUALFUND"])
def test_only_of_shares_is_no_volume_a_sign(yahoo, fetched, kind):
    yahoo.market.add("X", bars={"1d": bars(DATES)}, kind=kind)
    yahoo.market.edit("X", "1d", flat(DATES[4]))
    given = fetched(DAILY)
    assert (labels(given), given.quiet.height) == (DATES, 0)


def test_a_share_of_which_no_volume_is_ever_told_is_not_quiet(yahoo, fetched):
    flat_rows = {price: pl.col("close") for price in ("open", "high", "low")}
    yahoo.market.add("X", bars={"1d": bars(DATES).with_columns(**flat_rows, volume=0.0)})
    yahoo.market.at(datetime(2026, 1, 15, 3, tzinfo=UTC))
    given = fetched(DAILY, now=datetime(2026, 1, 15, 3, tzinfo=UTC))
    assert (labels(given), given.quiet.height) == (DATES, 0)


def test_bars_and_quiet_labels_go_back_to_since(yahoo, fetched):
    yahoo.market.add("X", bars={"5m": bars(FIVES)})
    yahoo.market.edit("X", "5m", flat(FIVES[9], FIVES[11]))
    given = fetched(FIVE, FIVES[10])
    assert given.quiet.rows() == [("X", FIVES[10]), ("X", FIVES[11])]
    assert labels(given)[0] == FIVES[12]


def test_a_volume_of_nothing_is_an_unknown_volume(yahoo, fetched):
    yahoo.market.add("X", bars={"1d": bars(DATES).with_columns(volume=0.0)}, market="FX", kind="CURRENCY")
    given = fetched(DAILY)
    assert given.bars["volume"].null_count() == given.bars.height == len(DATES)


def test_a_null_volume_is_null(yahoo, fetched):
    yahoo.market.add("X", bars={"1d": bars(DATES)})
    yahoo.market.edit("X", "1d", revised(DATES[3], volume=None))
    assert fetched(DAILY).bars["volume"].is_null().to_list() == [label == DATES[3] for label in DATES]


def test_a_high_or_low_that_leaves_the_auctions_out_is_widened_to_hold_them(yahoo, fetched):
    yahoo.market.add("X", bars={"1d": bars(DATES)})
    yahoo.market.edit("X", "1d", revised(DATES[3], high=103.4, low=103.3, open=103.0, close=104.0))
    assert fetched(DAILY).bars.row(3)[2:6] == (103.0, 104.0, 103.0, 104.0)


NOTHING = dict.fromkeys(("open", "high", "low", "close"), 0.0)


@pytest.mark.parametrize("wrong", [{"high": 90.0}, {"low": 120.0}, {"open": 0.0}, {"close": -1.0}, NOTHING])
def test_a_row_that_cannot_have_been_traded_is_left_out(yahoo, fetched, wrong):
    yahoo.market.add("X", bars={"1d": bars(DATES)})
    yahoo.market.edit("X", "1d", revised(DATES[3], **wrong))
    assert labels(fetched(DAILY)) == [*DATES[:3], *DATES[4:]]


@pytest.mark.parametrize("ratio", [Fraction(4), Fraction(3, 2), Fraction(1, 5000), Fraction(1281, 1000)])
def test_a_daily_split_is_told_at_its_session(yahoo, fetched, ratio):
    yahoo.market.add("X", bars={"1d": bars(DATES)}, splits=[StockSplit(date(2026, 1, 9), ratio)])
    assert fetched(DAILY).splits == {"X": (Split(DATES[4], ratio),)}


@pytest.mark.parametrize(("timeframe", "minutes"), [(FIVE, 5), (HOUR, 60)])
def test_an_intraday_split_is_told_at_the_first_bar_of_its_session(yahoo, fetched, timeframe, minutes):
    days = [OPEN - timedelta(days=1), OPEN]
    times = [day + timedelta(minutes=minutes * number) for day in days for number in range(390 // minutes)]
    yahoo.market.add("X", bars={str(timeframe): bars(times)}, splits=[StockSplit(date(2026, 1, 14), Fraction(4))])
    assert fetched(timeframe, OPEN - timedelta(hours=20)).splits == {"X": (Split(OPEN, Fraction(4)),)}


def frame(index: pd.DatetimeIndex, **columns: list[float]) -> pd.DataFrame:
    """Rows as yfinance gives them."""
    plain = dict.fromkeys(("Open", "High", "Low", "Close", "Adj Close"), 100.0) | {"Volume": 5}
    return pd.DataFrame(plain | {"Dividends": 0.0, "Stock Splits": 0.0} | columns, index=index)


def answer(rows: pd.DataFrame, last_trade: datetime | None = None) -> Answer:
    return Answer(rows, None, Instrument("XNYS", "USD", "equity"), last_trade, datetime(1980, 12, 12, tzinfo=UTC))


def test_an_hourly_split_that_yfinance_gives_to_the_day_before_is_told_at_the_opening():
    hours = [f"2026-01-{day} {hour}:30" for day in (13, 14) for hour in range(9, 16)]
    split = [0.0] * 6 + [2.0] + [0.0] * 7
    rows = frame(pd.DatetimeIndex(hours, tz="America/New_York"), **{"Stock Splits": split})
    assert read_chart("X", HOUR, answer(rows)).splits == (Split(OPEN, Fraction(2)),)


def test_of_two_rows_of_one_date_in_the_past_the_later_wins():
    dates = pd.DatetimeIndex(["2026-01-12", "2026-01-13", "2026-01-13", "2026-01-14"], tz="America/New_York")
    chart = read_chart("X", DAILY, answer(frame(dates, Volume=[1, 2, 3, 4])))
    assert chart.bars["volume"].to_list() == [1.0, 3.0, 4.0]


@pytest.mark.parametrize("clock", ["09:42:00", "09:40:31"])
def test_a_live_row_is_known_by_its_time_where_the_last_trade_is_not_told(clock):
    times = pd.DatetimeIndex([f"2026-01-14 {at}" for at in ("09:30", "09:35", "09:40", clock)], tz="America/New_York")
    assert read_chart("X", FIVE, answer(frame(times))).bars["ts"].to_list() == FIVES[1:3]


def test_a_live_row_at_the_opening_is_known_by_its_seconds():
    times = pd.DatetimeIndex(
        ["2026-01-13 15:50:00", "2026-01-13 15:55:00", "2026-01-14 09:30:31"], tz="America/New_York"
    )
    assert read_chart("X", FIVE, answer(frame(times))).bars["ts"].to_list() == [OPEN - timedelta(hours=17, minutes=35)]


@pytest.mark.parametrize(
    ("times", "timeframe", "trade", "quiet"),
    [
        (["2026-01-13", "2026-01-14"], DAILY, TODAY - timedelta(hours=3), True),
        (["2026-01-13", "2026-01-14"], DAILY, TODAY + timedelta(hours=15), False),
        (["2026-01-14 09:30", "2026-01-14 09:35", "2026-01-14 09:40"], FIVE, OPEN + timedelta(minutes=9), True),
        (["2026-01-14 09:30", "2026-01-14 09:35", "2026-01-14 09:40"], FIVE, OPEN + timedelta(minutes=11), False),
        (["2026-01-14 09:30", "2026-01-14 09:35", "2026-01-14 09:40"], FIVE, OPEN + timedelta(minutes=15), True),
    ],
)
def test_the_newest_trade_tells_a_quiet_row_from_a_live_one(times, timeframe, trade, quiet):
    rows = frame(pd.DatetimeIndex(times, tz="America/New_York"), Volume=[5] * (len(times) - 1) + [0])
    assert read_chart("X", timeframe, answer(rows, trade)).quiet.height == quiet


def test_an_afternoon_after_lunch_is_on_the_grid():
    times = pd.DatetimeIndex(
        [f"2026-01-14 {clock}" for clock in ("09:30", "10:30", "11:30", "13:00")], tz="Asia/Hong_Kong"
    )
    assert read_chart("X", HOUR, answer(frame(times))).bars.height == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_with_numbers_that_are_none_are_left_out(value):
    dates = pd.DatetimeIndex(["2026-01-13", "2026-01-14"], tz="America/New_York")
    chart = read_chart("X", DAILY, answer(frame(dates, High=[101.0, value])))
    assert chart.bars["ts"].to_list() == [DATES[-2]]


def test_rows_that_were_left_out_are_counted():
    dates = pd.DatetimeIndex(["2026-01-12", "2026-01-13", "2026-01-14"], tz="America/New_York")
    assert read_chart("X", DAILY, answer(frame(dates, High=[100.0, 85.0, 80.0]))).unsound == 2


def test_no_rows_are_no_bars():
    chart = read_chart("X", DAILY, answer(pd.DataFrame()))
    assert (chart.bars.schema, chart.bars.height, chart.last) == (RAW_SCHEMA, 0, None)
