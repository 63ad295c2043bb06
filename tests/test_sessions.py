"""When bars end. Expected values are published opening hours, worked out by hand in UTC."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from functools import cache

import exchange_calendars
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.bars import INSTANT
from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import InputError
from monitor.sessions import MARKETS, Sessions, parse_market


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@cache
def sessions(market: str) -> Sessions:
    return Sessions(market, date(2000, 1, 1), date(2027, 6, 30))


def closes(market: str, timeframe: str, *labels: str) -> list[datetime]:
    return sessions(market).closed_at(pl.Series([at(label) for label in labels]), TIMEFRAMES[timeframe]).to_list()


def test_the_markets_are_those_of_exchange_calendars():
    assert set(exchange_calendars.get_calendar_names(include_aliases=False)) == MARKETS


@pytest.mark.parametrize(("written", "meant"), [("XNY", "XNYS"), ("xlon", "XLON"), ("NYSE", "XNYS"), ("XNSE", "XBOM")])
def test_an_unknown_market_is_told_with_the_nearest_one(written, meant):
    with pytest.raises(InputError, match=written) as caught:
        parse_market(written)
    assert meant in caught.value.hint


def test_sessions_of_an_unknown_market_are_refused():
    with pytest.raises(InputError, match="unknown market 'MOON'"):
        Sessions("MOON", date(2025, 1, 1), date(2026, 1, 1))


def test_sessions_that_end_before_they_begin_are_refused():
    with pytest.raises(InputError, match="expected the first before the last"):
        Sessions("XNYS", date(2026, 1, 1), date(2025, 1, 1))


def test_importing_sessions_does_not_load_pandas():
    code = "import monitor.sessions, sys; print('pandas' in sys.modules, 'exchange_calendars' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]


@pytest.mark.parametrize(
    ("market", "timeframe", "label", "closed_at"),
    [
        ("XNYS", "1d", "2025-11-26", "2025-11-26 21:00"),
        ("XNYS", "1d", "2025-11-28", "2025-11-28 18:00"),  # half-day after Thanksgiving, 13:00 New York
        ("XNYS", "1d", "2025-03-07", "2025-03-07 21:00"),  # clocks go forward on the 9th
        ("XNYS", "1d", "2025-03-10", "2025-03-10 20:00"),
        ("XNYS", "1d", "2025-10-31", "2025-10-31 20:00"),  # clocks go back on 2 November
        ("XNYS", "1d", "2025-11-03", "2025-11-03 21:00"),
        ("XNYS", "1h", "2025-11-26 14:30", "2025-11-26 15:30"),
        ("XNYS", "1h", "2025-11-26 20:30", "2025-11-26 21:00"),
        ("XNYS", "1h", "2025-11-28 17:30", "2025-11-28 18:00"),
        ("XNYS", "4h", "2025-11-26 14:30", "2025-11-26 18:30"),
        ("XNYS", "4h", "2025-11-26 18:30", "2025-11-26 21:00"),
        ("XNYS", "4h", "2025-07-01 13:30", "2025-07-01 17:30"),
        ("XNYS", "1wk", "2025-11-24", "2025-11-28 18:00"),
        ("XNYS", "1wk", "2025-11-27", "2025-11-28 18:00"),  # any date of the week, even a holiday
        ("XNYS", "1wk", "2001-09-10", "2001-09-10 20:00"),  # no trading from the 11th to the 14th
        ("XNYS", "1wk", "2001-09-17", "2001-09-21 20:00"),
        ("XNYS", "1mo", "2025-11-01", "2025-11-28 18:00"),
        ("XNYS", "1mo", "2025-11-15", "2025-11-28 18:00"),
        ("XLON", "1d", "2025-12-24", "2025-12-24 12:30"),
        ("XTKS", "1d", "2025-11-25", "2025-11-25 06:30"),
        ("24/7", "1h", "2025-11-29 23:00", "2025-11-30 00:00"),
        ("24/7", "4h", "2025-11-29 20:00", "2025-11-30 00:00"),
        ("24/7", "1d", "2025-11-29", "2025-11-30"),
        ("24/7", "1wk", "2025-11-24", "2025-12-01"),
        ("24/7", "1mo", "2024-02-01", "2024-03-01"),
    ],
)
def test_a_bar_closes_with_its_length_or_its_session(market, timeframe, label, closed_at):
    assert closes(market, timeframe, label) == [at(closed_at)]


@pytest.mark.parametrize(
    ("timeframe", "label", "closed_at"),
    [
        ("1h", "2024-01-17 03:30", "2024-01-17 04:00"),  # 11:30 in Hong Kong: the break begins at 12:00
        ("1h", "2024-01-17 04:30", "2024-01-17 05:30"),  # 12:30 on a grid that counts through the break
        ("1h", "2024-01-17 05:00", "2024-01-17 06:00"),
        ("1h", "2024-01-17 07:30", "2024-01-17 08:00"),
        ("4h", "2024-01-17 01:30", "2024-01-17 05:30"),  # may go on after the break
        ("1h", "2024-02-09 03:30", "2024-02-09 04:00"),  # the day before the lunar new year ends at noon
    ],
)
def test_a_lunch_break_ends_a_bar_that_would_end_in_it(timeframe, label, closed_at):
    assert closes("XHKG", timeframe, label) == [at(closed_at)]


@pytest.mark.parametrize(
    ("timeframe", "label", "closed_at"),
    [
        ("1h", "2025-11-27 14:30", "2025-11-27 15:30"),  # Thanksgiving
        ("1h", "2025-11-28 18:00", "2025-11-28 19:00"),  # after the early close
        ("1h", "2025-11-26 13:30", "2025-11-26 14:30"),  # before the open
        ("1d", "2025-11-27", "2025-11-28 12:00"),
        ("1d", "2025-11-26 05:00", "2025-11-27 17:00"),  # not a date
        ("1wk", "2027-06-28", "2027-07-05 12:00"),  # the calendar ends within this week
        ("1mo", "2027-08-01", "2027-09-01 12:00"),  # and before this month
        ("1mo", "1999-12-01", "2000-01-01 12:00"),
    ],
)
def test_a_bar_of_an_unknown_session_closes_late(timeframe, label, closed_at):
    assert closes("XNYS", timeframe, label) == [at(closed_at)]


@pytest.mark.parametrize("timeframe", ["1h", "1d"])
def test_closing_times_have_the_type_and_length_of_instants(timeframe):
    labels = pl.Series([at("2025-11-26"), None], dtype=INSTANT)
    closed = sessions("XNYS").closed_at(labels, TIMEFRAMES[timeframe])
    assert (closed.dtype, len(closed), closed.null_count()) == (INSTANT, 2, 1)
    assert closed.name == "closed_at"
    assert sessions("XNYS").closed_at(labels.clear(), TIMEFRAMES[timeframe]).is_empty()


@pytest.mark.parametrize(
    ("market", "timeframe", "now", "label", "closed_at"),
    [
        ("XNYS", "1d", "2025-11-28 17:59", "2025-11-26", "2025-11-26 21:00"),
        ("XNYS", "1d", "2025-11-28 18:00", "2025-11-28", "2025-11-28 18:00"),
        ("XNYS", "1h", "2025-11-28 17:59", "2025-11-28 16:30", "2025-11-28 17:30"),
        ("XNYS", "1h", "2025-11-30 12:00", "2025-11-28 17:30", "2025-11-28 18:00"),
        ("XNYS", "4h", "2025-11-28 14:31", "2025-11-26 18:30", "2025-11-26 21:00"),
        ("XNYS", "1wk", "2025-11-28 17:59", "2025-11-17", "2025-11-21 21:00"),
        ("XNYS", "1mo", "2025-11-28 18:00", "2025-11-01", "2025-11-28 18:00"),
        ("XHKG", "1h", "2024-01-17 05:59", "2024-01-17 03:30", "2024-01-17 04:00"),
        ("XHKG", "4h", "2024-01-17 05:10", "2024-01-16 05:00", "2024-01-16 08:00"),
        ("24/7", "4h", "2025-11-29 00:00", "2025-11-28 20:00", "2025-11-29 00:00"),
    ],
)
def test_the_newest_closed_bar_is_the_last_to_have_closed(market, timeframe, now, label, closed_at):
    assert sessions(market).newest_closed(TIMEFRAMES[timeframe], at(now)) == (at(label), at(closed_at))


@pytest.mark.parametrize("timeframe", ["1m", "1d", "1mo"])
def test_before_the_first_session_no_bar_has_closed(timeframe):
    assert sessions("XNYS").newest_closed(TIMEFRAMES[timeframe], at("1999-06-01")) is None


@pytest.mark.parametrize(
    ("market", "timeframe", "after", "closed_at"),
    [
        ("XNYS", "1d", "2025-11-26 21:00", "2025-11-28 18:00"),
        ("XNYS", "1d", "2025-11-28 17:59", "2025-11-28 18:00"),
        ("XNYS", "1d", "2001-09-10 20:00", "2001-09-17 20:00"),
        ("XNYS", "1h", "2025-11-28 17:30", "2025-11-28 18:00"),
        ("XNYS", "1h", "2025-11-28 18:00", "2025-12-01 15:30"),
        ("XNYS", "1wk", "2025-11-28 18:00", "2025-12-05 21:00"),
        ("XNYS", "1h", "1990-01-01 00:00", "2000-01-03 15:30"),
        ("XHKG", "1h", "2024-01-17 04:00", "2024-01-17 06:00"),
        ("24/7", "1m", "2025-11-29 12:00", "2025-11-29 12:01"),
    ],
)
def test_the_next_close_is_strictly_after_the_instant(market, timeframe, after, closed_at):
    assert sessions(market).next_close(TIMEFRAMES[timeframe], at(after)) == at(closed_at)


def test_past_the_calendar_the_next_close_is_one_length_away():
    later = at("2030-01-01 12:00")
    assert sessions("XNYS").next_close(TIMEFRAMES["1h"], later) == later + timedelta(hours=1)
    assert sessions("XNYS").next_close(TIMEFRAMES["1wk"], later) == later + timedelta(days=7)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["XNYS", "XHKG", "XSHG", "CMES", "24/7"]),
    st.sampled_from(sorted(TIMEFRAMES)),
    st.datetimes(datetime(2001, 1, 1), datetime(2026, 6, 1)),  # noqa: DTZ001  naive on purpose
)
def test_newest_and_next_enclose_the_instant_and_agree_with_closed_at(market, timeframe, naive):
    now, bars = naive.replace(tzinfo=UTC), sessions(market)
    label, closed_at = bars.newest_closed(TIMEFRAMES[timeframe], now)
    following = bars.next_close(TIMEFRAMES[timeframe], now)
    assert closed_at <= now < following
    assert bars.closed_at(pl.Series([label]), TIMEFRAMES[timeframe]).to_list() == [closed_at]
    assert bars.newest_closed(TIMEFRAMES[timeframe], following)[1] == following


def test_a_calendar_with_bounds_of_its_own_is_cut_to_them():
    shanghai = Sessions("XSHG", date(1980, 1, 1), date(2035, 1, 1))
    assert shanghai.newest_closed(TIMEFRAMES["1d"], at("1990-12-20"))[1] == at("1990-12-19 07:00")
    assert shanghai.known_until < at("2035-01-01")


def test_a_calendar_that_knows_none_of_the_days_asked_for_delays_every_bar():
    riyadh = Sessions("XSAU", date(2001, 1, 1), date(2010, 1, 1))
    assert riyadh.newest_closed(TIMEFRAMES["1h"], at("2005-01-01")) is None
    assert riyadh.closed_at(pl.Series([at("2005-01-03")]), TIMEFRAMES["1d"]).to_list() == [at("2005-01-04 12:00")]


def test_a_span_without_a_session_delays_every_bar():
    weekend = Sessions("XNYS", date(2025, 11, 29), date(2025, 11, 30))
    assert weekend.closed_at(pl.Series([at("2025-11-29")]), TIMEFRAMES["1d"]).to_list() == [at("2025-11-30 12:00")]
