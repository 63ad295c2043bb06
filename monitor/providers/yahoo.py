"""Yahoo Finance: bars of the whole world, without a key, a little late, and of nobody's promise.

One symbol is asked for at a time, by a few threads that keep to one pace. An *outage* is a spell of failures that say
nothing of the symbols asked for: once it is sure within a fetch, the other symbols are not asked for at all.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

import polars as pl
import structlog

from monitor.core.bars import RAW_SCHEMA
from monitor.errors import BarwatchError, ProviderError, RateLimited, UnknownSymbol, Unreachable
from monitor.ports import QUIET, Fetched, Instrument
from monitor.providers.chart import Answer, Chart, read_chart
from monitor.providers.pace import TokenBucket
from monitor.providers.yahoo_names import lag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from monitor.core.timeframe import Timeframe
    from monitor.providers.yahoo_wire import Wire

_DAYS_BACK = {"1m": 29, "2m": 59, "5m": 59, "15m": 59, "1h": 729}
_EDGE_CACHE = timedelta(seconds=30)
_SETTLING = timedelta(minutes=15)
_LONGEST_BREAK = timedelta(days=4)
_DAY = timedelta(days=1)
_IN_A_ROW = 5
_MANY = 3
_SYMBOL = re.compile(r"[\w^][\w.^=&-]*", re.ASCII)

_log = structlog.get_logger()


@dataclass(frozen=True)
class _Known:
    """What is known of one symbol after it was asked for."""

    chart: Chart
    as_of: datetime
    instrument: Instrument
    seen: datetime | None
    hours: tuple[datetime, datetime] | None
    told_at: datetime | None


class YahooProvider:
    """Bars of Yahoo Finance through yfinance, which keeps its cookie in the folder `cache`.

    Real time goes by between requests, whatever the `now` of a fetch.
    """

    name = "yahoo"
    native = frozenset({*_DAYS_BACK, "1d"})
    batch = 10
    scarce = True

    def __init__(self, cache: Path, requests_per_second: float = 0.5) -> None:
        self._cache = cache
        self._pace = TokenBucket(requests_per_second)
        self._pool = ThreadPoolExecutor(3, "yahoo")
        self._opening = Lock()
        self._wire: Wire | None = None

    def lag(self, market: str, timeframe: Timeframe) -> timedelta:
        late = lag(market)
        return late if timeframe.intraday else max(late - _SETTLING, timedelta(0))

    def lookback(self, timeframe: Timeframe) -> timedelta | None:
        """A day less than Yahoo allows, whose clock is not ours."""
        days = _DAYS_BACK.get(timeframe.name)
        return timedelta(days=days) if days else None

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        """The bars of each symbol labelled at or after its `since`."""
        if timeframe.name not in self.native:
            refused = UnknownSymbol(f"Yahoo has no sound {timeframe} bars", f"it has {', '.join(sorted(self.native))}")
            return _fetched({}, dict.fromkeys(since, refused))
        named = {symbol: start for symbol, start in sorted(since.items()) if _SYMBOL.fullmatch(symbol)}
        nameless = {
            symbol: UnknownSymbol(f"{symbol!r} cannot be a symbol of Yahoo's") for symbol in since.keys() - named.keys()
        }
        self._opened().begin()
        told = self._together(named, timeframe, now)
        known = {symbol: each for symbol, each in told.items() if isinstance(each, _Known)}
        failures = {symbol: each for symbol, each in told.items() if not isinstance(each, _Known)}
        return _fetched(known, nameless | _doubted(failures, len(named)))

    def close(self) -> None:
        self._pace.close()
        self._pool.shutdown(wait=False)

    def _together(
        self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime
    ) -> dict[str, _Known | BarwatchError]:
        outage = _Outage()
        try:
            asked = {
                symbol: self._pool.submit(self._try, outage, symbol, timeframe, start, now)
                for symbol, start in since.items()
            }
        except RuntimeError:  # the pool takes nothing more
            return dict.fromkeys(since, ProviderError("Yahoo is not asked any more: the provider is closed"))
        return {symbol: answer.result() for symbol, answer in asked.items()}

    def _try(
        self, outage: _Outage, symbol: str, timeframe: Timeframe, since: datetime | None, now: datetime
    ) -> _Known | BarwatchError:
        if outage.sure:
            return outage.sure
        try:
            known = self._ask(symbol, timeframe, since, now)
        except ProviderError as failure:
            outage.note(failure)
            return failure
        outage.note(None)
        return known

    def _ask(self, symbol: str, timeframe: Timeframe, since: datetime | None, now: datetime) -> _Known:
        for start in self._starts(timeframe, since, now):
            answer = self._opened().ask(symbol, timeframe, start, now)
            chart = _readable(symbol, timeframe, answer)
            if since is None or (chart.first and chart.first < since):
                break
        if chart.unsound:
            _log.debug("yahoo.rows_left_out", symbol=symbol, timeframe=timeframe.name, rows=chart.unsound)
        return _known(chart, answer, since, now)

    def _starts(self, timeframe: Timeframe, since: datetime | None, now: datetime) -> Iterator[datetime | None]:
        """Where to begin to ask: before `since`, as the first row of an intraday answer is not to be had whole.

        If the bars just before it were not traded, then from the session before on. A daily label is no instant: at
        some markets the session begins on the date before.
        """
        back = self.lookback(timeframe)
        if back is None:
            yield since and min(since, now) - _DAY
        elif since is None:
            yield now - back
        else:
            befores = (min(since, now) - length for length in (2 * timeframe.length, _LONGEST_BREAK))
            yield from dict.fromkeys(max(before, now - back) for before in befores)

    def _opened(self) -> Wire:
        """The wire, made when first needed: yfinance takes seconds to load."""
        with self._opening:
            if self._wire is None:
                from monitor.providers.yahoo_wire import Wire

                self._wire = Wire(self._cache, self._pace)
            return self._wire


class _Outage:
    """What one fetch has learnt of Yahoo's state; `sure` is the failure that all symbols left have in common."""

    def __init__(self) -> None:
        self.sure: ProviderError | None = None
        self._in_a_row = 0
        self._lock = Lock()

    def note(self, outcome: ProviderError | None) -> None:
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if isinstance(outcome, Unreachable) else 0
            if isinstance(outcome, RateLimited) or self._in_a_row == _IN_A_ROW:
                self.sure = self.sure or outcome


def _readable(symbol: str, timeframe: Timeframe, answer: Answer) -> Chart:
    """The bars of an answer. One that is odd beyond what is known of Yahoo costs no other symbol its bars."""
    try:
        return read_chart(symbol, timeframe, answer)
    except Exception as error:
        _log.exception("yahoo.answer_not_read", symbol=symbol, timeframe=timeframe.name)
        raise ProviderError(f"Yahoo's answer for {symbol} cannot be read: {type(error).__name__}: {error}") from error


def _known(chart: Chart, answer: Answer, since: datetime | None, now: datetime) -> _Known:
    """An answer may have lain in Yahoo's edge cache for a while; and it knows nothing later than Yahoo's own clock."""
    if since is not None:
        wanted = pl.col("ts") >= since
        chart = replace(chart, bars=chart.bars.filter(wanted), quiet=chart.quiet.filter(wanted))
    seen = [at.astimezone(UTC) for at in (answer.last_trade, chart.last) if at]
    as_of = min(now, answer.at or now) - _EDGE_CACHE
    known = min(now, max(seen)) if seen else None
    return _Known(chart, as_of, answer.instrument, known, answer.hours, answer.at)


def _doubted(failures: dict[str, BarwatchError], asked: int) -> dict[str, BarwatchError]:
    """The failures as they are; but if no symbol of many is known, then it is Yahoo that is not well."""
    unknown = [failure for failure in failures.values() if isinstance(failure, UnknownSymbol)]
    if len(unknown) < max(asked, _MANY):
        return failures
    return dict.fromkeys(
        failures, ProviderError(f"Yahoo knows none of {asked} symbols: {unknown[0].message}, and so on")
    )


def _fetched(known: Mapping[str, _Known], failures: Mapping[str, BarwatchError]) -> Fetched:
    return Fetched(
        bars=pl.concat([pl.DataFrame(schema=RAW_SCHEMA), *(each.chart.bars for each in known.values())]),
        as_of={symbol: each.as_of for symbol, each in known.items()},
        failures=failures,
        splits={symbol: each.chart.splits for symbol, each in known.items() if each.chart.splits},
        instruments={symbol: each.instrument for symbol, each in known.items() if each.instrument != Instrument()},
        quiet=pl.concat([pl.DataFrame(schema=QUIET), *(each.chart.quiet for each in known.values())]),
        seen={symbol: each.seen for symbol, each in known.items() if each.seen},
        hours={symbol: each.hours for symbol, each in known.items() if each.hours},
        told_at=max((each.told_at for each in known.values() if each.told_at), default=None),
    )
