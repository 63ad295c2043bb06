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
from monitor.sessions import Sessions


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@cache
def sessions(market: str) -> Sessions:
    return Sessions(market, date(2000 if market == "XNYS" else 2024, 1, 1), date(2027, 6, 30))


def closes(market: str, timeframe: str, *labels: str) -> list[datetime]:
    return sessions(market).closed_at(pl.Series([at(label) for label in labels]), TIMEFRAMES[timeframe]).to_list()


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
        ("XLON", "1d", "2025-03-28", "2025-03-28 16:30"),  # Britain's clocks go forward on the 30th
        ("XLON", "1d", "2025-03-31", "2025-03-31 15:30"),
        ("XLON", "1d", "2025-10-24", "2025-10-24 15:30"),  # and back on 26 October, a week before New York's
        ("XLON", "1d", "2025-10-27", "2025-10-27 16:30"),
        ("XNYS", "1d", "2025-10-27", "2025-10-27 20:00"),
        ("XLON", "1d", "2026-12-24", "2026-12-24 12:30"),
        ("XLON", "1h", "2026-12-24 12:00", "2026-12-24 12:30"),
        ("XETR", "1d", "2025-12-30", "2025-12-30 13:00"),  # the last day of the year ends at 14:00 in Frankfurt
        ("XSTO", "1d", "2025-10-31", "2025-10-31 12:00"),  # All Saints' Eve, 13:00 in Stockholm
        ("XASX", "1d", "2025-12-24", "2025-12-24 03:10"),  # 14:10 in Sydney
        ("XTSE", "1d", "2025-12-24", "2025-12-24 18:00"),
        ("XHKG", "1d", "2025-12-24", "2025-12-24 04:00"),
        ("XTKS", "1d", "2024-11-01", "2024-11-01 06:00"),
        ("XTKS", "1d", "2024-11-05", "2024-11-05 06:30"),  # Tokyo trades half an hour longer from this day on
        ("XTKS", "1h", "2024-11-05 06:00", "2024-11-05 06:30"),
        ("XTAE", "1d", "2026-01-09", "2026-01-09 11:50"),  # Tel Aviv trades on Fridays since 2026
        ("XTAE", "1d", "2026-01-11", "2026-01-12 12:00"),  # and on Sundays no more
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
        ("1h", "2024-01-17 04:30", "2024-01-17 05:30"),  # 12:30, traded from 13:00 on
        ("1h", "2024-01-17 05:00", "2024-01-17 06:00"),  # on a grid that begins anew after the break
        ("1h", "2024-01-17 07:30", "2024-01-17 08:00"),
        ("4h", "2024-01-17 01:30", "2024-01-17 05:30"),  # goes on after the break
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
        ("XHKG", "1h", "2024-01-17 05:29", "2024-01-17 03:30", "2024-01-17 04:00"),
        ("XHKG", "1h", "2024-01-17 05:30", "2024-01-17 04:30", "2024-01-17 05:30"),
        ("XHKG", "4h", "2024-01-17 05:10", "2024-01-16 05:30", "2024-01-16 08:00"),
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
        ("XHKG", "1h", "2024-01-17 04:00", "2024-01-17 05:30"),
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
    st.sampled_from(["XNYS", "XHKG", "XSHG", "CMES", "FX", "24/7"]),
    st.sampled_from(sorted(TIMEFRAMES)),
    st.datetimes(datetime(2024, 3, 1), datetime(2026, 6, 1)),  # noqa: DTZ001  naive on purpose
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


def grid(market: str, timeframe: str, first: str, last: str) -> list[tuple[datetime, datetime]]:
    return sessions(market).grid(TIMEFRAMES[timeframe], at(first), at(last)).rows()


def on(day: str, *times: str) -> list[tuple[datetime, datetime]]:
    """`"13:30-14:30"` and so on of one day as pairs of label and close."""
    return [tuple(at(f"{day} {time}") for time in text.split("-")) for text in times]


@pytest.mark.parametrize(
    ("market", "timeframe", "day", "times"),
    [
        ("XNYS", "1h", "2025-11-28", ["14:30-15:30", "15:30-16:30", "16:30-17:30", "17:30-18:00"]),
        ("XNYS", "4h", "2025-07-01", ["13:30-17:30", "17:30-20:00"]),  # 09:30 to 13:30 to 16:00 in New York
        ("XNYS", "2h", "2025-07-01", ["13:30-15:30", "15:30-17:30", "17:30-19:30", "19:30-20:00"]),
        ("XNYS", "4h", "2025-03-10", ["13:30-17:30", "17:30-20:00"]),
        ("XLON", "4h", "2025-03-10", ["08:00-12:00", "12:00-16:00", "16:00-16:30"]),
        ("XLON", "4h", "2026-12-24", ["08:00-12:00", "12:00-12:30"]),
        ("XBOM", "2h", "2025-11-12", ["03:45-05:45", "05:45-07:45", "07:45-09:45", "09:45-10:00"]),
        ("XHKG", "2h", "2024-01-17", ["01:30-03:30", "03:30-05:30", "05:30-07:30", "07:30-08:00"]),
        ("XHKG", "2h", "2024-02-09", ["01:30-03:30", "03:30-04:00"]),
        ("XTKS", "1h", "2025-11-12", ["00:00-01:00", "01:00-02:00", "02:00-02:30", "03:00-04:00", "04:00-05:00",
                                      "05:00-06:00", "06:00-06:30"]),
        ("XSHG", "1h", "2025-11-12", ["01:30-02:30", "02:30-03:30", "04:30-05:30", "05:30-06:30", "06:30-07:00"]),
        ("BVMF", "2h", "2025-03-05", ["16:00-18:00", "18:00-20:00"]),  # Ash Wednesday: from 13:00 in São Paulo
        ("XNYS", "1h", "2025-11-27", []),
        ("24/7", "4h", "2025-11-29", ["00:00-04:00", "04:00-08:00", "08:00-12:00", "12:00-16:00", "16:00-20:00"]),
    ],
)  # fmt: skip
def test_a_grid_counts_from_the_open_and_leaves_out_the_break(market, timeframe, day, times):
    assert grid(market, timeframe, day, f"{day} 19:59") == on(day, *times)


def test_a_grid_of_minutes_has_none_in_the_lunch_break():
    labels = [label for label, _ in grid("XHKG", "1m", "2024-01-17", "2024-01-18")]
    assert len(labels) == 150 + 180
    assert not [label for label in labels if at("2024-01-17 04:00") <= label < at("2024-01-17 05:00")]


def test_a_grid_holds_its_first_and_its_last_label():
    assert grid("XNYS", "1h", "2025-11-28 15:30", "2025-11-28 16:30") == on("2025-11-28", "15:30-16:30", "16:30-17:30")
    assert grid("XNYS", "1h", "2025-11-28 15:31", "2025-11-28 16:29") == []
    assert grid("XNYS", "1h", "1999-01-01", "1999-06-01") == []


@pytest.mark.parametrize(
    ("timeframe", "first", "last", "bars"),
    [
        ("1d", "2025-11-26", "2025-12-01", {"11-26": "11-26 21:00", "11-28": "11-28 18:00", "12-01": "12-01 21:00"}),
        ("1wk", "2025-11-17", "2025-11-24", {"11-17": "11-21 21:00", "11-24": "11-28 18:00"}),
        ("1wk", "2025-11-18", "2025-11-30", {"11-24": "11-28 18:00"}),
        ("1mo", "2025-10-01", "2025-11-30", {"10-01": "10-31 20:00", "11-01": "11-28 18:00"}),
    ],
)
def test_a_grid_of_days_or_longer_is_labelled_by_dates(timeframe, first, last, bars):
    expected = [(at(f"2025-{label}"), at(f"2025-{close}")) for label, close in bars.items()]
    assert grid("XNYS", timeframe, first, last) == expected


@pytest.mark.parametrize("timeframe", sorted(TIMEFRAMES))
@pytest.mark.parametrize("market", ["XNYS", "XHKG", "XTAE", "CMES", "FX", "24/7"])
def test_a_grid_agrees_with_closed_at(market, timeframe):
    bars = sessions(market).grid(TIMEFRAMES[timeframe], at("2025-10-20"), at("2026-01-20"))
    assert bars["closed_at"].to_list() == sessions(market).closed_at(bars["label"], TIMEFRAMES[timeframe]).to_list()
    assert bars["label"].is_sorted()
    assert (bars["closed_at"] > bars["label"]).all()


@pytest.mark.parametrize(
    "market", ["XNYS", "XLON", "XHKG", "XTKS", "XASX", "XTAE", "XDUB", "XBOM", "BVMF", "IEPA", "24/7"]
)
def test_the_minutes_of_the_grid_are_those_of_the_calendar(market):
    """Summer and winter time on both sides of the equator, and the half-days of Christmas."""
    span = {"start": "2025-09-15", "end": "2026-01-15"}
    calendar = exchange_calendars.get_calendar(market, **span, side="left")
    bars = Sessions(market, date(2025, 9, 15), date(2026, 1, 15)).grid(
        TIMEFRAMES["1m"], at("2025-01-01"), at("2027-01-01")
    )
    assert (bars["label"].dt.epoch("ms").to_numpy() == calendar.minutes.as_unit("ms").asi8).all()


@pytest.mark.parametrize(
    ("market", "now", "is_open", "until"),
    [
        ("XNYS", "2025-11-26 14:29", False, "2025-11-26 14:30"),
        ("XNYS", "2025-11-26 14:30", True, "2025-11-26 21:00"),
        ("XNYS", "2025-11-26 21:00", False, "2025-11-28 14:30"),  # Thanksgiving
        ("XNYS", "2025-11-28 17:59", True, "2025-11-28 18:00"),
        ("XHKG", "2024-01-17 03:59", True, "2024-01-17 04:00"),
        ("XHKG", "2024-01-17 04:00", False, "2024-01-17 05:00"),
        ("XHKG", "2024-02-09 04:00", False, "2024-02-14 01:30"),  # the lunar new year
        ("FX", "2025-11-26 22:30", True, "2025-11-28 22:00"),
        ("FX", "2025-11-28 22:00", False, "2025-11-30 22:00"),
        ("CMES", "2025-11-26 22:00", False, "2025-11-26 23:00"),
        ("24/7", "2025-11-29 00:00", True, "2027-07-01 00:00"),  # the end of what was asked for
        ("XNYS", "2028-01-01 00:00", False, "2027-07-01 00:00"),
        ("XNYS", "1990-01-01 00:00", False, "2000-01-03 14:30"),
    ],
)
def test_a_market_is_open_until_its_next_break_or_close(market, now, is_open, until):
    assert sessions(market).at(at(now)) == (is_open, at(until))


@pytest.mark.parametrize(
    ("after", "upto", "closes"),
    [
        ("2025-11-26 21:00", "2025-12-01 21:00", 2),
        ("2025-11-26 20:59", "2025-12-01 20:59", 2),
        ("2025-11-28 18:00", "2025-12-01 20:59", 0),
        ("2025-12-01 21:00", "2025-11-26 21:00", 0),
    ],
)
def test_closes_are_counted_after_one_instant_up_to_another(after, upto, closes):
    assert sessions("XNYS").closes_between(at(after), at(upto)) == closes
