"""Made-up bars on a market's own grid: a random walk that is the same every time."""

import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, time

import polars as pl

from tests.yahoo.hours import Hours
from tests.yahoo.market import DAY, LENGTHS


def labels(market: str, interval: str, first: date, last: date) -> list[datetime]:
    """The labels of all bars of a market from one date to another, both included."""
    hours, length = Hours(market), LENGTHS[interval]
    dates = (first + number * DAY for number in range((last - first).days + 1))
    days = [day for each in dates if (day := hours.day(each))]
    if length >= DAY:
        return [datetime.combine(day.date, time(), UTC) for day in hours.barred(days)]
    return hours.starts(length, days)


def walk(stamps: Iterable[datetime], seed: str, price: float = 100.0, step: float = 0.002) -> pl.DataFrame:
    """A bar for each label; each opens where the one before it closed, and moves by about `step` of its price."""
    chance, rows = random.Random(seed), []
    for stamp in stamps:
        close = round(price * (1 + chance.gauss(0, step)), 2)
        high = round(max(price, close) * (1 + abs(chance.gauss(0, step / 2))), 2)
        low = round(min(price, close) * (1 - abs(chance.gauss(0, step / 2))), 2)
        rows.append((stamp, price, high, low, close, float(chance.randint(100, 10_000))))
        price = close
    return pl.DataFrame(rows, schema=["ts", "open", "high", "low", "close", "volume"], orient="row")
