"""Where hours come from: what no exchange calendar says, and what follows when one ends.

Hong Kong's calendar ends with 2049, a year whose last weeks it knows like any other.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache

import polars as pl
import pytest

from monitor.calendars import SESSIONS, guess_sessions, read_calendar
from monitor.core.timeframe import TIMEFRAMES
from monitor.sessions import Sessions


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@cache
def sessions(market: str) -> Sessions:
    return Sessions(market, date(2024, 1, 1), date(2026, 12, 31))


@cache
def expired() -> Sessions:
    return Sessions(
        "XHKG",
        date(2049, 6, 1),
        date(2050, 6, 30),
        {date(2050, 1, 8): (at("2050-01-08 02:00"), at("2050-01-08 05:30"))},
    )


def closes(known: Sessions, timeframe: str, *labels: str) -> list[datetime]:
    return known.closed_at(pl.Series([at(label) for label in labels]), TIMEFRAMES[timeframe]).to_list()


def times(known: Sessions, timeframe: str, first: str, last: str) -> list[str]:
    return known.grid(TIMEFRAMES[timeframe], at(first), at(last))["label"].dt.strftime("%d %H:%M").to_list()


@pytest.mark.parametrize(
    ("label", "closed_at"),
    [
        ("2025-01-15", "2025-01-16 00:00"),  # midnight in London, two hours after 17:00 in New York
        ("2025-07-15", "2025-07-15 23:00"),
        ("2025-03-14", "2025-03-15 00:00"),  # New York on summer time, London not yet
        ("2025-10-28", "2025-10-29 00:00"),
        ("2025-11-28", "2025-11-29 00:00"),  # a Friday
        ("2025-12-25", "2025-12-26 12:00"),  # no session: late
        ("2026-01-01", "2026-01-02 12:00"),
    ],
)
def test_a_day_of_currencies_closes_when_new_york_and_london_are_both_done(label, closed_at):
    assert closes(sessions("FX"), "1d", label) == [at(closed_at)]


@pytest.mark.parametrize(
    ("timeframe", "label", "closed_at"),
    [("1wk", "2025-07-14", "2025-07-18 23:00"), ("1mo", "2025-11-01", "2025-11-29 00:00")],
)
def test_longer_bars_of_currencies_close_with_their_last_day(timeframe, label, closed_at):
    assert closes(sessions("FX"), timeframe, label) == [at(closed_at)]


@pytest.mark.parametrize(
    ("first", "last", "begins", "ends"),
    [
        ("2025-01-10 12:00", "2025-01-13", "2025-01-12 22:00", "2025-01-10 21:59"),
        ("2025-07-11 12:00", "2025-07-14", "2025-07-13 21:00", "2025-07-11 20:59"),
        ("2025-03-07 12:00", "2025-03-10", "2025-03-09 21:00", "2025-03-07 21:59"),  # the clocks change in between
        ("2025-12-24 12:00", "2025-12-26", "2025-12-25 22:00", "2025-12-24 21:59"),  # Christmas
    ],
)
def test_currencies_rest_from_friday_to_sunday_at_17_in_new_york(first, last, begins, ends):
    labels = sessions("FX").grid(TIMEFRAMES["1m"], at(first), at(last))["label"]
    pause = labels.diff().arg_max()
    assert (labels[pause - 1], labels[pause]) == (at(ends), at(begins))
    assert (labels.diff().drop_nulls() == timedelta(minutes=1)).sum() == len(labels) - 2


def test_four_hours_of_currencies_count_from_17_in_new_york():
    assert times(sessions("FX"), "4h", "2025-07-10 20:59", "2025-07-11 23:00") == [
        "10 21:00", "11 01:00", "11 05:00", "11 09:00", "11 13:00", "11 17:00",
    ]  # fmt: skip


@pytest.mark.parametrize(("market", "pause"), [("CMES", "22:00"), ("us_futures", "22:00")])
def test_futures_pause_for_the_last_hour_of_the_exchange(market, pause):
    labels = times(sessions(market), "1h", "2025-11-18 23:00", "2025-11-19 23:00")
    assert (len(labels), labels[0], labels[-1]) == (24, "18 23:00", "19 23:00")
    assert f"19 {pause}" not in labels
    assert closes(sessions(market), "1d", "2025-11-19") == [at("2025-11-19 23:00")]


def test_a_short_day_of_futures_lasts_as_long_as_that_of_its_slowest_contract():
    thanksgiving = sessions("CMES")
    assert times(thanksgiving, "1h", "2025-11-27 12:00", "2025-11-27 23:00")[-2:] == ["27 17:00", "27 23:00"]
    assert closes(thanksgiving, "1d", "2025-11-27") == [at("2025-11-27 23:00")]
    assert closes(thanksgiving, "1h", "2025-11-27 18:00") == [at("2025-11-27 19:00")]


def test_past_the_calendar_the_usual_hours_go_on():
    assert expired().known_until == at("2050-01-01")
    assert times(expired(), "1d", "2049-12-30", "2050-01-05") == [
        "30 00:00",
        "31 00:00",
        "03 00:00",
        "04 00:00",
        "05 00:00",
    ]
    assert times(expired(), "1h", "2050-01-03", "2050-01-04") == [
        "03 01:30", "03 02:30", "03 03:30", "03 04:30", "03 05:30", "03 06:30", "03 07:30",
    ]  # fmt: skip
    assert expired().at(at("2050-01-03 04:30")) == (False, at("2050-01-03 05:00"))


@pytest.mark.parametrize(
    ("timeframe", "label", "closed_at"),
    [
        ("1d", "2049-12-31", "2049-12-31 04:00"),  # the calendar's: a half-day
        ("1d", "2050-01-03", "2050-01-03 10:00"),  # two hours past the usual close
        ("1h", "2050-01-03 01:30", "2050-01-03 02:30"),
        ("1h", "2050-01-03 03:30", "2050-01-03 04:30"),  # not cut by a break that may have gone
        ("1h", "2050-01-03 07:30", "2050-01-03 08:30"),  # nor by a close that may have moved
        ("4h", "2050-01-03 05:30", "2050-01-03 09:30"),
        ("1wk", "2049-12-20", "2049-12-24 04:00"),
        ("1wk", "2050-01-10", "2050-01-17 00:00"),  # a Saturday may be traded
        ("1wk", "2049-12-27", "2050-01-03 00:00"),  # the year ends in this week
        ("1mo", "2049-12-01", "2049-12-31 04:00"),
        ("1mo", "2050-01-01", "2050-02-01 00:00"),
        ("1d", "2050-01-02", "2050-01-03 12:00"),  # a Sunday: nobody knows of it
    ],
)
def test_a_bar_of_a_guessed_session_closes_late(timeframe, label, closed_at):
    assert closes(expired(), timeframe, label) == [at(closed_at)]


def test_an_observed_session_is_taken_as_it_was():
    """A Saturday, from 10:00 to 13:30 in Hong Kong."""
    assert times(expired(), "1h", "2050-01-08", "2050-01-09") == ["08 02:00", "08 03:00", "08 04:00", "08 05:00"]
    assert closes(expired(), "1d", "2050-01-08") == [at("2050-01-08 05:30")]
    assert closes(expired(), "1h", "2050-01-08 05:00") == [at("2050-01-08 05:30")]


def test_an_observed_half_day_has_no_lunch_break():
    observed = {date(2050, 1, 4): (at("2050-01-04 01:30"), at("2050-01-04 04:00"))}
    known = Sessions("XHKG", date(2049, 6, 1), date(2050, 1, 31), observed)
    assert times(known, "1h", "2050-01-04", "2050-01-05") == ["04 01:30", "04 02:30", "04 03:30"]
    assert known.at(at("2050-01-04 04:00")) == (False, at("2050-01-05 01:30"))


def test_what_a_calendar_knows_is_not_observed():
    observed = {date(2024, 1, 17): (at("2024-01-17 02:00"), at("2024-01-17 03:00"))}
    known = Sessions("XHKG", date(2024, 1, 1), date(2024, 3, 1), observed)
    assert closes(known, "1d", "2024-01-17") == [at("2024-01-17 08:00")]


def test_a_span_past_the_calendar_is_guessed_too():
    assert times(Sessions("XHKG", date(2051, 1, 2), date(2051, 1, 9)), "1d", "2051-01-02", "2051-01-05") == [
        "02 00:00", "03 00:00", "04 00:00", "05 00:00",
    ]  # fmt: skip


def days(market: str, first: date, last: date) -> pl.DataFrame:
    return read_calendar(market, first, last, {}).sessions


def guess(market: str, zone: str, known: date, last: date) -> pl.DataFrame:
    before = days(market, known - timedelta(days=120), known)
    return guess_sessions(before, zone, known, last, {})


def test_usual_hours_follow_the_clocks_of_the_exchange():
    """New York's clocks go forward on 9 March."""
    guessed = guess("XNYS", "America/New_York", date(2025, 2, 28), date(2025, 3, 11))
    assert guessed.filter(pl.col("date").is_in([at("2025-03-07"), at("2025-03-10")]))["start", "end"].rows() == [
        (at("2025-03-07 14:30"), at("2025-03-07 21:00")),
        (at("2025-03-10 13:30"), at("2025-03-10 20:00")),
    ]


def test_holidays_and_half_days_are_not_usual():
    """The calendar is cut after a half-day, a Wednesday."""
    guessed = guess("XNYS", "America/New_York", date(2025, 12, 24), date(2026, 1, 2))
    assert guessed["end"].dt.strftime("%a %H:%M").to_list() == [
        "Thu 21:00", "Fri 21:00", "Mon 21:00", "Tue 21:00", "Wed 21:00", "Thu 21:00", "Fri 21:00",
    ]  # fmt: skip


def test_a_weekday_traded_once_is_not_usual():
    """Mumbai traded on Saturday, 1 February 2025, the day of the budget."""
    assert days("XBOM", date(2025, 1, 27), date(2025, 2, 10))["date"].dt.weekday().to_list().count(6) == 1
    guessed = guess("XBOM", "Asia/Kolkata", date(2025, 2, 10), date(2025, 2, 17))
    assert guessed["date"].dt.strftime("%a").to_list() == ["Tue", "Wed", "Thu", "Fri", "Mon"]


@pytest.mark.parametrize(
    ("market", "zone", "known", "last"),
    [
        ("XTKS", "Asia/Tokyo", date(2024, 10, 31), date(2024, 12, 31)),  # longer since 5 November
        ("XSGO", "America/Santiago", date(2025, 7, 31), date(2026, 7, 31)),
        ("BVMF", "America/Sao_Paulo", date(2019, 9, 30), date(2020, 9, 30)),
        ("XTAE", "Asia/Jerusalem", date(2025, 11, 30), date(2026, 11, 30)),  # other days since January
    ],
)
def test_no_guessed_session_closes_before_the_real_one(market, zone, known, last):
    both = guess(market, zone, known, last).join(days(market, known, last), on="date", suffix="_real")
    assert both.height > 40
    assert both.filter(pl.col("close") < pl.col("close_real")).is_empty()


def test_without_a_session_nothing_is_usual():
    nothing = pl.DataFrame(schema=SESSIONS)
    assert guess_sessions(nothing, "UTC", date(2050, 1, 1), date(2050, 2, 1), {}).is_empty()


@pytest.mark.parametrize(
    ("market", "now", "warned"),
    [
        ("XHKG", "2049-11-16 23:59", False),
        ("XHKG", "2049-11-17 00:00", True),
        ("XHKG", "2051-01-01 00:00", True),
        ("XNYS", "2051-01-01 00:00", False),
        ("FX", "2051-01-01 00:00", False),
        ("24/7", "2051-01-01 00:00", False),
    ],
)
def test_45_days_before_a_calendar_ends_it_is_told(market, now, warned):
    told = Sessions(market, date(2049, 1, 1), date(2049, 6, 30)).warning(at(now))
    assert (told is not None) == warned
    assert told is None or "the calendar of XHKG ends on 2049-12-31" in told
