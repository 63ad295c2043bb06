"""Trading hours in Yahoo's words: a *day* is one date of trading of a market, from its regular open to its close.

Markets without a bell (crypto, currencies, futures) have days from midnight to midnight of the exchange's zone,
whatever the hours of their trade. Yahoo says that such a day ends at 23:59, a minute early.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from pandas import NaT

AROUND_THE_CLOCK = {"24/7": "UTC", "FX": "Europe/London", "CMES": "America/New_York", "us_futures": "America/New_York"}
_NEW_YORK = ZoneInfo("America/New_York")
_SHUT, _OPEN = time(17), {"FX": time(17)}
FRIDAY, SATURDAY, SUNDAY = 4, 5, 6
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Day:
    """`runs` are the parts of the day between its breaks."""

    date: date
    runs: tuple[tuple[datetime, datetime], ...]

    @property
    def start(self) -> datetime:
        return self.runs[0][0]

    @property
    def end(self) -> datetime:
        return self.runs[-1][1]


class Hours:
    """The days of a market in the zone of its exchange."""

    def __init__(self, market: str, zone: str | None = None) -> None:
        self.market = market
        self.bell = market not in AROUND_THE_CLOCK
        self.zone = ZoneInfo(zone or AROUND_THE_CLOCK.get(market) or str(_calendar(market).tz))

    def day(self, on: date) -> Day | None:
        """The day of that date; None when there is no trading."""
        if self.bell:
            return _bells(self.market).get(on)
        runs = self._round_the_clock(on)
        return Day(on, runs) if runs else None

    def stamp(self, on: date) -> datetime:
        """Yahoo's label of the daily bar of that date: the opening bell, whether or not there is one."""
        if not self.bell:
            return self._midnight(on)
        return day.start if (day := self.day(on)) else _at(on, self._usual(on), self.zone)

    def end(self, on: date) -> datetime:
        """When the daily bar of that date is final; that of futures before the evening, which is of the next day."""
        day = self.day(on)
        if day is None:
            return self._midnight(on + _DAY)
        return day.end if self.bell else day.runs[0][1]

    def period(self, day: Day) -> tuple[datetime, datetime]:
        """The regular period that Yahoo tells of a day."""
        if self.bell:
            return day.start, day.end
        return self._midnight(day.date), self._midnight(day.date + _DAY) - timedelta(minutes=1)

    def barred(self, days: list[Day]) -> list[Day]:
        """The days that have a daily bar: a Sunday's evening has none."""
        return [day for day in days if day.start == self.stamp(day.date)]

    def starts(self, length: timedelta, days: list[Day]) -> list[datetime]:
        """Where the intraday bars of some days start: counted from the start of each run."""
        runs = (run for day in days for run in day.runs)
        return [begin + number * length for begin, end in runs for number in range(-((begin - end) // length))]

    def bar_end(self, start: datetime, length: timedelta) -> datetime:
        """When the intraday bar that starts then is final."""
        day = self.day(start.astimezone(self.zone).date())
        ends = [end for begin, end in day.runs if begin <= start < end] if day else []
        return min([start + length, *ends])

    def current(self, at: datetime) -> Day:
        """The day at that instant, else the one before it."""
        on = at.astimezone(self.zone).date()
        return next(day for back in range(15) if (day := self.day(on - back * _DAY)))

    def between(self, first: datetime, last: datetime) -> list[Day]:
        """The days of the dates from one instant to another."""
        on, until = first.astimezone(self.zone).date(), last.astimezone(self.zone).date()
        dates = (on + number * _DAY for number in range((until - on).days + 1))
        return [day for each in dates if (day := self.day(each))]

    def last_trade(self, at: datetime) -> datetime:
        """The newest instant up to then at which the market was open."""
        day = self.current(at)
        if day.start > at:
            day = self.current(self._midnight(day.date) - timedelta(hours=1))
        return min([at, *(end for begin, end in day.runs if begin <= at)][-1], at)

    def _round_the_clock(self, on: date) -> tuple[tuple[datetime, datetime], ...]:
        begin, end = self._midnight(on), self._midnight(on + _DAY)
        if self.market == "24/7":
            return ((begin, end),)
        shut, opens = (_at(on, at, _NEW_YORK) for at in (_SHUT, _OPEN.get(self.market, time(18))))
        if on.weekday() in {FRIDAY, SATURDAY}:
            return ((begin, shut),) if on.weekday() == FRIDAY else ()
        if on.weekday() == SUNDAY:
            return ((opens, end),)
        return ((begin, end),) if shut == opens else ((begin, shut), (opens, end))

    def _usual(self, on: date) -> time:
        dates = list(_bells(self.market))
        near = _bells(self.market)[dates[max(bisect_right(dates, on) - 1, 0)]]
        return near.start.astimezone(self.zone).time()

    def _midnight(self, on: date) -> datetime:
        return _at(on, time(), self.zone)


def _at(on: date, clock: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(on, clock, zone).astimezone(UTC)


@lru_cache
def _calendar(market: str):
    from exchange_calendars import get_calendar

    return get_calendar(market)


@lru_cache
def _bells(market: str) -> dict[date, Day]:
    calendar = _calendar(market)
    columns = (calendar.opens, calendar.break_starts, calendar.break_ends, calendar.closes)
    rows = zip(calendar.sessions, *(column.array for column in columns), strict=True)
    return {row[0].date(): _day(*row) for row in rows}


def _day(session, *bells) -> Day:
    opens, rest, resume, closes = (None if bell is NaT else bell.to_pydatetime() for bell in bells)
    return Day(session.date(), ((opens, rest), (resume, closes)) if rest else ((opens, closes),))
