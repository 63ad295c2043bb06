"""The week as a script: what was really traded from 27 October to 3 November 2025, and what Yahoo made of it.

It has New York after Europe's clocks were set back and before and after its own, half a day in Stockholm, a lunch break
and a holiday in Hong Kong, and a market that never closes. *Truth* is what was traded, in the shares of the last day. A
*slip* is a bar that Yahoo gets wrong in some way until an instant.
"""

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from functools import cache
from typing import NamedTuple

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST_DAY, LAST_DAY = date(2025, 9, 15), date(2025, 11, 3)
LENGTHS = {"15m": 15 * MINUTE, "1h": HOUR, "1d": DAY}


def at(day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    """An instant of the week: days after the 26th are of October, those before it of November."""
    return datetime(2025, 10 if day >= 26 else 11, day, hour, minute, second, tzinfo=UTC)


START, END = at(26, 22), at(3, 21, 35)
OUTAGE = at(29, 14, 10), at(29, 20, 10)
BAN = at(31, 15, 1), at(31, 15, 11)
DOWNTIME = at(3, 15, 5), at(3, 19, 5)
SPLIT_DAY, SHARES_FOR_ONE = date(2025, 10, 30), 4
EX_DAY, DIVIDEND = date(2025, 10, 31), 0.5


class Bar(NamedTuple):
    """One bar; a daily one is labelled by its date at 00:00 UTC."""

    ts: datetime
    closed_at: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


class How(Enum):
    """What is wrong with a bar: it is not there, has no prices, closes at a wrong price, or is in pence."""

    ABSENT = "absent"
    BLANK = "blank"
    OFF = "off"
    PENCE = "pence"


@dataclass(frozen=True)
class Slip:
    """A bar that is wrong until an instant; `factor` is what the close is multiplied by."""

    how: How
    ts: datetime
    until: datetime
    factor: float = 1.0

    def shown(self, bar: Bar) -> Bar:
        """The bar as it is shown until then."""
        close = round(bar.close * self.factor, 2)
        return bar._replace(close=close, high=max(bar.high, close), low=min(bar.low, close))


@dataclass(frozen=True)
class Series:
    """The truth at one timeframe; `built` says that it is not asked for, but made of the smaller series."""

    timeframe: str
    bars: tuple[Bar, ...]
    slips: tuple[Slip, ...] = ()
    built: "Series | None" = None


@dataclass(frozen=True)
class Share:
    """A symbol. `level` is what its closes are compared with, in the shares of the first day.

    `known_late` is how long after the exchange Yahoo knows its trades.
    """

    symbol: str
    market: str
    kind: str
    currency: str
    known_late: timedelta
    series: tuple[Series, ...]
    level: float
    finest: tuple[Bar, ...]
    split: bool = False


@dataclass(frozen=True)
class Hours:
    """The hours of a market, by the exchange's rules and not by any calendar's."""

    opens: time
    closes: time
    later_from: date | None = None
    shut: frozenset[date] = frozenset()
    halves: dict[date, time] = field(default_factory=dict)
    lunch: tuple[time, time] | None = None


HOURS = {
    "XNYS": Hours(time(13, 30), time(20), later_from=date(2025, 11, 3)),
    "XSTO": Hours(time(7), time(15, 30), later_from=date(2025, 10, 27), halves={date(2025, 10, 31): time(12)}),
    "XHKG": Hours(
        time(1, 30),
        time(8),
        shut=frozenset({date(2025, 10, 1), date(2025, 10, 7), date(2025, 10, 29)}),
        lunch=(time(4), time(5)),
    ),
}


class Session(NamedTuple):
    """One day of trading, and its lunch break where it has one."""

    opens: datetime
    closes: datetime
    lunch: tuple[datetime, datetime] | None


@cache
def sessions(market: str) -> tuple[Session, ...]:
    """Every session from the first day to the last."""
    days = [FIRST_DAY + number * DAY for number in range((LAST_DAY - FIRST_DAY).days + 1)]
    if market == "24/7":
        return tuple(Session(_on(day, time()), _on(day, time()) + DAY, None) for day in days)
    hours, found = HOURS[market], []
    for day in days:
        if day.weekday() > 4 or day in hours.shut:
            continue
        later = HOUR if hours.later_from and day >= hours.later_from else 0 * HOUR
        closes = _on(day, hours.halves[day]) if day in hours.halves else _on(day, hours.closes) + later
        lunch = (_on(day, hours.lunch[0]), _on(day, hours.lunch[1])) if hours.lunch else None
        found.append(Session(_on(day, hours.opens) + later, closes, lunch))
    return tuple(found)


def _on(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, UTC)


def spans(market: str, timeframe: str) -> list[tuple[datetime, datetime]]:
    """Start and end of every bar. One that would end in the lunch break ends with the trading before it."""
    if timeframe == "1d":
        return [(session.opens, session.closes) for session in sessions(market)]
    found, length = [], LENGTHS[timeframe]
    for opens, closes, lunch in sessions(market):
        starts = [opens + number * length for number in range(-((opens - closes) // length))]
        for start in starts:
            end = min(start + length, closes)
            if lunch and start < lunch[0] < end <= lunch[1]:
                end = lunch[0]
            if not (lunch and lunch[0] <= start and end <= lunch[1]):
                found.append((start, end))
    return found


def _walked(symbol: str, market: str, timeframe: str, price: float, moves: dict[datetime, float]) -> tuple[Bar, ...]:
    """A random walk over the finest bars, but for the moves that are asked for."""
    chance, bars = random.Random(symbol), []
    for start, end in spans(market, timeframe):
        close = round(price * (1 + moves.get(start, chance.gauss(0, 0.003))), 2)
        high = round(max(price, close) * (1 + abs(chance.gauss(0, 0.001))), 2)
        low = round(min(price, close) * (1 - abs(chance.gauss(0, 0.001))), 2)
        bars.append(Bar(start, end, price, high, low, close, float(chance.randint(100, 9000))))
        price = close
    return tuple(bars)


def together(bars: tuple[Bar, ...], market: str, timeframe: str) -> tuple[Bar, ...]:
    """Larger bars of smaller ones. The closing auction is in the daily close alone."""
    found, place = [], 0
    for start, end in spans(market, timeframe):
        part = []
        while place < len(bars) and bars[place].ts < end:
            part.append(bars[place])
            place += 1
        close, label = part[-1].close, start
        if timeframe == "1d":
            close = round(close * (1 + 0.001 * (start.day % 3 - 1)), 2)
            label = datetime.combine(start.date(), time(), UTC)
        high, low = max([close, *(bar.high for bar in part)]), min([close, *(bar.low for bar in part)])
        found.append(Bar(label, end, part[0].open, high, low, close, sum(bar.volume for bar in part)))
    return tuple(found)


def leap(dip: datetime, up: datetime) -> dict[datetime, float]:
    """A fall, then a rise above all that was before it."""
    return {dip: -0.03, up: 0.06}


def _share(
    symbol: str,
    price: float,
    moves: dict[datetime, float],
    slips: dict[str, tuple[Slip, ...]],
    timeframes: tuple[str, ...] = ("1h", "1d"),
    market: str = "XNYS",
    **more: object,
) -> Share:
    finest = "15m" if market == "XNYS" else "1h"
    fine = _walked(symbol, market, finest, price, moves)
    series: list[Series] = []
    for timeframe in timeframes:
        bars = fine if timeframe == finest else together(fine, market, timeframe)
        built = series[0] if timeframe == "1h" and series else None
        series.append(Series(timeframe, bars, slips.get(timeframe, ()), built))
    before = [bar.close for bar in fine if bar.ts < START]
    level = round(before[-1] * 1.004, 2) * (SHARES_FOR_ONE if more.get("split") else 1)
    late = {"XSTO": 20 * MINUTE, "XHKG": 15 * MINUTE}.get(market, 0 * MINUTE)
    return Share(symbol, market, str(more.pop("kind", "EQUITY")), "USD", late, tuple(series), level, fine, **more)  # type: ignore[arg-type]


@cache
def shares() -> tuple[Share, ...]:
    """All symbols of the week."""
    return (
        _share(
            "ALFA", 120.0, timeframes=("15m", "1h"),
            moves=leap(at(31, 14, 15), at(31, 14, 45)) | leap(at(29, 16, 0), at(29, 17, 15))
            | leap(at(30, 14, 15), at(30, 15, 15)) | leap(at(3, 15, 15), at(3, 16, 15)) | {at(27, 17, 15): -0.03},
            slips={"15m": (
                Slip(How.OFF, at(27, 18, 15), at(27, 18, 50), 1.06),
                Slip(How.ABSENT, at(30, 15, 0), at(30, 16, 10)),
            )},
        ),
        _share(
            "BETA", 45.0,
            moves={_last(24): -0.04, _last(30): -0.03, _last(31): 0.08} | leap(at(29, 15, 15), at(29, 16, 15))
            | leap(at(3, 16, 15), at(3, 17, 15)),
            slips={"1d": (Slip(How.OFF, at(27), at(28, 18), 1.06), Slip(How.BLANK, at(31), at(31, 22, 10)))},
        ),
        _share(
            "GAMA", 300.0,
            moves={_last(27): -0.03, _last(28): 0.06} | leap(at(27, 15, 15), at(27, 16, 15)),
            slips={
                "1d": (Slip(How.ABSENT, at(28), at(30, 15)),),
                "1h": (Slip(How.ABSENT, at(27, 15, 30), at(27, 18, 40)),),
            },
        ),
        _share(
            "SPLT", 110.0, split=True,
            moves=leap(at(28, 15, 15), at(28, 16, 15)) | leap(at(30, 15, 15), at(30, 16, 15))
            | {_last(30): -0.03, _last(31): 0.06},
            slips={},
        ),
        _share(
            "ERIC-B.ST", 90.0, market="XSTO",
            moves=leap(at(28, 8), at(28, 10)) | leap(at(31, 9), at(31, 11)) | leap(at(29, 13), at(29, 14))
            | {at(29, 16): -0.03, at(30, 16): 0.08},
            slips={
                "1h": tuple(Slip(How.PENCE, at(28, hour), at(28, 13, 40)) for hour in (9, 10, 11)),
                "1d": (Slip(How.OFF, at(30), at(31, 11), 1.01),),
            },
        ),
        _share(
            "9988.HK", 160.0, market="XHKG",
            moves=leap(at(28, 2, 30), at(28, 3, 30)) | leap(at(30, 2, 30), at(30, 4, 30)), slips={},
        ),
        _share(
            "BTC-USD", 110_000.0, timeframes=("1h",), market="24/7", kind="CRYPTOCURRENCY",
            moves=leap(at(28, 18), at(28, 19)) | leap(at(28, 21), at(28, 22)) | leap(at(29, 15), at(29, 17))
            | leap(at(31, 13), at(31, 14)) | leap(at(2, 3), at(2, 5)) | leap(at(3, 15), at(3, 16)),
            slips={"1h": (Slip(How.ABSENT, at(28, 19), at(30, 3)),)},
        ),
    )  # fmt: skip


def _last(day: int) -> datetime:
    """The last quarter of an hour in New York on a day of October."""
    return datetime(2025, 10, day, 19, 45, tzinfo=UTC)
