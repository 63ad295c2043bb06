"""The sessions of a market: its calendar's and, past the end of that, those that were seen or are usual.

A *session* is one trading day of a market, known by its `date`. It is traded from `start` to `end`, but for a lunch
break from `rest` to `resume`; at `close`, never before `end`, the bar of that day cannot change any more. It is *sure*
where the calendar has it. An *observed* session is one whose open and close a provider told. A *usual* one has the
hours of its weekday in the last weeks of the calendar, on the clocks of the exchange.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from monitor.core.bars import INSTANT
from monitor.markets import FX

Observed = Mapping[date, tuple[datetime, datetime]]

_HOURS = ("start", "rest", "resume", "end")
SESSIONS = pl.Schema(dict.fromkeys(("date", *_HOURS, "close"), INSTANT) | {"sure": pl.Boolean()})

# Futures pause for the last hour of the exchange's day, of which calendars say nothing; and as some contracts stop
# earlier than others on holidays, a day of theirs is over only when the exchange's is.
_FUTURES = {"CMES": timedelta(hours=17), "us_futures": timedelta(hours=18)}
_PAUSE = timedelta(hours=1)
_RECENT, _USUAL = timedelta(weeks=8), 4
# Guessed at the start of any quarter since 2001, no calendar had a session that closed more than an hour later than its
# weekday's: Santiago and São Paulo go by New York's summer time, Seoul trades later on the day of the school exam.
_MARGIN = timedelta(hours=2)


@dataclass(frozen=True)
class Calendar:
    """The sessions of a market in order, the last date that they are sure for, and the last that can be asked for.

    Shape: `sessions` has `SESSIONS`; `bound` is None where the calendar has no end.
    """

    sessions: pl.DataFrame
    known: date
    bound: date | None = None


def read_calendar(market: str, first: date, last: date, observed: Observed) -> Calendar:
    """The sessions of a market from `first` to `last`."""
    if market == FX:
        return Calendar(_currencies(first, last), last)
    sessions, zone, bound = _published(market, first, last)
    known = min(last, bound or last)
    if market in _FUTURES:
        over = _clock(_FUTURES[market], zone)
        sessions = sessions.with_columns(end=pl.min_horizontal("end", over - _PAUSE), close=over)
    later = guess_sessions(sessions, zone, known, last, observed)
    return Calendar(pl.concat([sessions, later]), known, bound)


def _published(market: str, first: date, last: date) -> tuple[pl.DataFrame, str, date | None]:
    """The sessions that a calendar has of that span, its time zone and its last date."""
    from exchange_calendars import get_calendar
    from exchange_calendars.errors import NoSessionsError

    try:
        calendar = get_calendar(market, start=first.isoformat(), end=last.isoformat())
    except NoSessionsError:
        return pl.DataFrame(schema=SESSIONS), "UTC", None
    except ValueError:  # the holidays of some markets are recorded for some years only
        known = get_calendar(market)
        earliest, latest = known.bound_min(), known.bound_max()
        end = min(last, latest.date() if latest else last)
        start = max(min(first, end - _RECENT) if end < last else first, earliest.date() if earliest else first)
        if (start, end) == (first, last):
            raise
        return _published(market, start, end) if start < end else (pl.DataFrame(schema=SESSIONS), "UTC", None)
    nanos = {
        "start": calendar.opens_nanos,
        "rest": calendar.break_starts_nanos,
        "resume": calendar.break_ends_nanos,
        "end": calendar.closes_nanos,
        "close": calendar.closes_nanos,
    }
    hours = {name: instants.view("datetime64[ns]") for name, instants in nanos.items()}
    sessions = pl.DataFrame({"date": calendar.sessions.to_numpy()} | hours)
    bound = calendar.bound_max()
    return (
        sessions.select(pl.all().dt.replace_time_zone("UTC").cast(INSTANT), sure=pl.lit(value=True)),
        calendar.tz.key,
        bound.date() if bound else None,
    )


def _currencies(first: date, last: date) -> pl.DataFrame:
    """The sessions of the market of currencies: from 17:00 to 17:00 in New York.

    Yahoo's bar of a day goes from midnight to midnight in London: the day is over when both have passed.
    """
    holiday = pl.col("date").dt.strftime("%m-%d").is_in(["12-25", "01-01"])
    end = _clock(timedelta(hours=17), "America/New_York")
    return (
        _days(first, last)
        .filter(pl.col("date").dt.weekday() <= 5, ~holiday)
        .with_columns(
            start=_clock(timedelta(hours=-7), "America/New_York"),
            end=end,
            close=pl.max_horizontal(end, _clock(timedelta(hours=24), "Europe/London")),
            sure=pl.lit(value=True),
        )
        .match_to_schema(SESSIONS, missing_columns="insert")
    )


def guess_sessions(sessions: pl.DataFrame, zone: str, known: date, last: date, observed: Observed) -> pl.DataFrame:
    """Sessions later than `known`, up to `last`: the observed ones, and the usual ones of all other days.

    Shape: `SESSIONS`, in order; `sessions` are those up to `known`, `zone` is where the exchange's clocks are.
    """
    seen = [(day, *hours) for day, hours in observed.items()]
    told = pl.DataFrame(seen, schema={"day": pl.Date(), "opened": INSTANT, "shut": INSTANT}, orient="row")
    with_a_break = (pl.col("start") < pl.col("rest")) & (pl.col("resume") < pl.col("end"))
    return (
        _days(known + timedelta(days=1), last)
        .with_columns(day=pl.col("date").dt.date(), weekday=pl.col("date").dt.weekday())
        .join(_usual(sessions, known, zone), on="weekday", how="left")
        .join(told, on="day", how="left")
        .with_columns(_clock(pl.col(name), zone).alias(name) for name in _HOURS)
        .with_columns(
            start=pl.coalesce("opened", "start"),
            end=pl.coalesce("shut", "end"),
            close=pl.coalesce("shut", pl.col("end") + _MARGIN),
            sure=pl.lit(value=False),
        )
        .with_columns(pl.when(with_a_break).then(pl.col("rest", "resume")))
        .drop_nulls(["start", "end"])
        .select(*SESSIONS)
        .sort("date")
    )


def _usual(sessions: pl.DataFrame, known: date, zone: str) -> pl.DataFrame:
    """For each weekday that is usually traded, its hours as time since midnight on local clocks.

    The longest session stands for its weekday, the newest of several: no half-day, and rather late than early.
    """
    since = pl.lit(known - _RECENT).cast(INSTANT)
    midnight = pl.col("date").dt.replace_time_zone(None)
    local = pl.col(*_HOURS).dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return (
        sessions.filter(pl.col("date") > since)
        .sort(pl.col("end") - pl.col("start"), "date")
        .group_by(pl.col("date").dt.weekday().alias("weekday"))
        .agg((local - midnight).last(), pl.len().alias("times"))
        .filter(pl.col("times") >= _USUAL)
    )


def _days(first: date, last: date) -> pl.DataFrame:
    days = pl.date_range(first, last, eager=True) if first <= last else pl.Series(dtype=pl.Date())
    return days.cast(INSTANT).alias("date").to_frame()


def _clock(shown: pl.Expr | timedelta, zone: str) -> pl.Expr:
    """The instant at which the clocks of a zone show that time since midnight of `date`; the later one of two."""
    local = pl.col("date").dt.replace_time_zone(None) + shown
    return local.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null").dt.convert_time_zone("UTC")
