"""A provider of stored history that fails when it is told to, and remembers what it was asked."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import polars as pl

from monitor.core.bars import BAR_SCHEMA
from monitor.core.timeframe import TIMEFRAMES, Timeframe
from monitor.errors import BarwatchError
from monitor.ports import Fetched
from monitor.providers.replay import ReplayProvider


class Flaky(ReplayProvider):
    """Serves `history`, or fails with `failing` for every symbol while that is set."""

    scarce = True

    def __init__(self, name: str, history: Mapping[str, pl.DataFrame]) -> None:
        super().__init__(history)
        self.name = name
        self.native = frozenset(history)
        self.failing: BarwatchError | None = None
        self.asked: list[tuple[str, Mapping[str, datetime | None]]] = []

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        self.asked.append((timeframe.name, since))
        if self.failing:
            return Fetched(self.nothing(), {}, dict.fromkeys(since, self.failing))
        return super().fetch(since, timeframe, now)

    @staticmethod
    def nothing() -> pl.DataFrame:
        return pl.DataFrame(schema=BAR_SCHEMA).drop("closed_at")


def bars(
    symbol: str, timeframe: str, first: datetime, closes: list[float], lacking: set[int] = frozenset()
) -> pl.DataFrame:
    """Bars of a market that never closes, one for each close; a bar opens at the close before it."""
    length = TIMEFRAMES[timeframe].length
    rows = [
        {
            "symbol": symbol,
            "ts": first + i * length,
            "closed_at": first + (i + 1) * length,
            "open": closes[max(i - 1, 0)],
            "high": max(close, closes[max(i - 1, 0)]),
            "low": min(close, closes[max(i - 1, 0)]),
            "close": close,
            "volume": 1.0,
        }
        for i, close in enumerate(closes)
        if i not in lacking
    ]
    return pl.DataFrame(rows, BAR_SCHEMA)


MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
