"""Stored history, served as if each bar had just closed: at any `now` only the bars that had closed by then."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import polars as pl

from monitor.core.bars import RAW_SCHEMA
from monitor.core.timeframe import TIMEFRAMES, Timeframe
from monitor.errors import BarwatchError, UnknownSymbol
from monitor.ports import Fetched


class ReplayProvider:
    """History up to a moving `now`; the splits of the symbols in `vouched` are known to have been worked in.

    Shape: `history` has BAR_SCHEMA frames by the name of their timeframe.
    """

    name = "replay"
    native = frozenset(TIMEFRAMES)
    batch = 100_000
    scarce = False

    def __init__(self, history: Mapping[str, pl.DataFrame], vouched: Collection[str] = ()) -> None:
        self._vouched = vouched
        self._bars: dict[tuple[str, str], pl.DataFrame] = {}
        self._served: dict[tuple[str, str], pl.Series] = {}
        for timeframe, frame in history.items():
            for (symbol,), bars in frame.sort("ts").group_by("symbol", maintain_order=True):
                self._bars[timeframe, str(symbol)] = bars.select(*RAW_SCHEMA)
                self._served[timeframe, str(symbol)] = bars["closed_at"].cum_max()

    def lag(self, market: str, timeframe: Timeframe) -> timedelta:
        return timedelta(0)

    def lookback(self, timeframe: Timeframe) -> timedelta | None:
        return None

    def close(self) -> None:
        pass

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        """The stored bars labelled at or after `since` that had closed by `now`, as had all before them.

        `as_of` is `now`: no bar of a replay is ever still forming.
        """
        parts = [pl.DataFrame(schema=RAW_SCHEMA)]
        failures: dict[str, BarwatchError] = {}
        for symbol, start in sorted(since.items()):
            key = timeframe.name, symbol
            if key not in self._bars:
                failures[symbol] = UnknownSymbol(f"no {timeframe} bars of {symbol} to replay")
                continue
            bars = self._bars[key]
            first = 0 if start is None else bisect_left(bars["ts"], start)
            end = bisect_right(self._served[key], now)
            parts.append(bars.slice(first, max(end - first, 0)))
        return Fetched(
            pl.concat(parts), dict.fromkeys(since.keys() - failures.keys(), now), failures, vouched=self._vouched
        )
