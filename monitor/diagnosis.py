"""Diagnosis: where a watched series stands, and why nothing is heard of it.

A *series* is the bars of one symbol at one timeframe. It is *silent* for the first of the reasons in `Silent` that
holds. A bar is *due* when its provider's lag and the grace time after its close are over, and *late* after that. A
*gap* is a run of bars that the calendar expects and that are not stored, or that came only after later ones.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import cache

import polars as pl

from monitor.config.snapshot import Watched
from monitor.core.timeframe import TIMEFRAMES, Timeframe
from monitor.holes import ON_THE_GRID
from monitor.sessions import Sessions
from monitor.sources import Sources
from monitor.stores.bars import BarStore
from monitor.stores.quality import HoleState, Quality

UNRECORDED = "unrecorded"
_SAID_ALREADY = "has not come yet"


class Silent(StrEnum):
    """Why nothing is heard of a series; with the last two all is well."""

    NOT_WATCHED = "not_watched"
    NO_BARS = "no_data"
    RESTING = "provider_down"
    QUARANTINED = "quarantined"
    HOLE = "waiting_at_a_hole"
    LATE = "late"
    FAILED = "poll_failed"
    FORMING = "waiting_for_the_close"
    CLOSED = "market_closed"

    @property
    def well(self) -> bool:
        return self in (Silent.FORMING, Silent.CLOSED)


@dataclass(frozen=True)
class Silence:
    """Why a series is silent, in words, since when, until when, and when its next bar is due, where that is known."""

    symbol: str
    timeframe: str
    reason: Silent
    text: str
    since: datetime | None = None
    until: datetime | None = None
    due: datetime | None = None

    @property
    def line(self) -> str:
        return f"{self.symbol} {self.timeframe}: {self.text}"


@dataclass(frozen=True)
class Known:
    """What a diagnosis is made from: stores, sources with their breakers, and calendars.

    Unit: `patience` is in sessions; None waits at a hole for ever.
    """

    bars: BarStore
    quality: Quality
    sources: Sources
    sessions: Callable[[str], Sessions]
    patience: int | None


def why_silent(known: Known, watched: Sequence[Watched], symbol: str, timeframe: Timeframe, now: datetime) -> Silence:
    """Why nothing is heard of a series, or when its next bar is due."""
    for one in watched:
        if one.timeframe == timeframe and symbol in one.markets:
            return Diagnosis(known, one, [symbol], now).of(symbol)
    return Silence(symbol, timeframe.name, Silent.NOT_WATCHED, f"not watched; {_nearest(watched, symbol)}")


def _nearest(watched: Sequence[Watched], symbol: str) -> str:
    lengths = [one.timeframe.name for one in watched if symbol in one.markets]
    if lengths:
        return f"{symbol} is watched at {', '.join(lengths)}"
    symbols = sorted({name for one in watched for name in one.markets})
    near = get_close_matches(symbol.upper(), symbols, 1, 0.4)
    return f"did you mean {near[0]}?" if near else f"watched are {enumerated(symbols)}"


class Diagnosis:
    """Some series of one timeframe, as they stand at an instant."""

    def __init__(self, known: Known, watched: Watched, symbols: Collection[str], now: datetime) -> None:
        quality, name = known.quality, watched.timeframe.name
        self._known, self._now, self._timeframe = known, now, watched.timeframe
        self._watched = watched.knowing(quality.instruments())
        self._newest = known.bars.newest_closes(name, list(symbols))
        self._origins = quality.origins(name, symbols)
        self._quarantines = quality.quarantines(name, symbols)
        holes = quality.holes(name, symbols).filter(pl.col("state") == HoleState.PENDING)
        self._holes = {symbol: (ts, closed_at) for symbol, ts, closed_at, _ in reversed(holes.rows())}
        self._missing = {row["symbol"]: row for row in quality.missing() if row["timeframe"] == name}
        self._expected = cache(lambda market, wait: known.sessions(market).newest_closed(self._timeframe, now - wait))
        self._next_close = cache(lambda market, after: known.sessions(market).next_close(self._timeframe, after))

    def of(self, symbol: str) -> Silence:
        """Why nothing is heard of a symbol."""
        return (
            self._no_bars(symbol)
            or self._resting(symbol)
            or self._quarantined(symbol)
            or self._hole(symbol)
            or self.late(symbol)
            or self._failed(symbol)
            or self._waiting(symbol)
        )

    def _silence(self, symbol: str, reason: Silent, text: str, **when: datetime | None) -> Silence:
        return Silence(symbol, self._timeframe.name, reason, text, **when)

    def _no_bars(self, symbol: str) -> Silence | None:
        if symbol in self._newest:
            return None
        why, since = "it has not been asked for yet: `barwatch run` and `barwatch once` do", None
        if symbol in self._missing:
            missing = self._missing[symbol]
            why, since = f"{missing['why']}; {since_when(missing['since'])}", missing["since"]
        if resting := self._resting(symbol):
            why = resting.text
        return self._silence(symbol, Silent.NO_BARS, f"no data: {why}", since=since)

    def _resting(self, symbol: str) -> Silence | None:
        """Of a new series every provider has to be down, else the one that it is from."""
        breakers = self._known.sources.breakers
        origin = self._origins.get(symbol, "")
        asked = [breakers[origin]] if origin in breakers else [*breakers.values()]
        down = [breaker for breaker in asked if breaker.record.open_until]
        if len(down) < len(asked):
            return None
        name, record = down[0].provider, down[0].record
        since, until = record.failing_since, record.open_until
        again = f"not asked before {moment(until)}" if until and self._now < until else "asked again at the next poll"
        begun = f" {since_when(since)}" if since else ""
        text = f"provider {name} is down{begun} and {again}: {record.why}"
        return self._silence(symbol, Silent.RESTING, text, since=since, until=until)

    def _quarantined(self, symbol: str) -> Silence | None:
        if symbol not in self._quarantines:
            return None
        found = self._quarantines[symbol]
        text = f"in quarantine {since_when(found.found_at)}: {found.why}"
        return self._silence(symbol, Silent.QUARANTINED, text, since=found.found_at)

    def _hole(self, symbol: str) -> Silence | None:
        if symbol not in self._holes:
            return None
        ts, closed_at = self._holes[symbol]
        until = self._patience_ends(symbol, closed_at)
        if until is None:
            how_long = "for as long as it takes"
        elif until > self._now:
            how_long = f"until {moment(until)}, then its checks go on without it"
        else:
            how_long = "and goes on without it at the next poll"
        text = f"waits for the bar of {label_of(ts, self._timeframe)}, which later ones have overtaken, {how_long}"
        return self._silence(symbol, Silent.HOLE, text, since=closed_at, until=until)

    def _patience_ends(self, symbol: str, closed_at: datetime) -> datetime | None:
        if self._known.patience is None:
            return None
        sessions = self._known.sessions(self._watched.markets[symbol])
        for _ in range(self._known.patience):
            closed_at = sessions.next_close(TIMEFRAMES["1d"], closed_at)
        return closed_at

    def late(self, symbol: str) -> Silence | None:
        """That the newest bar of a symbol that has any should have come by now."""
        market, wait, (newest, closed_at) = self._watched.markets[symbol], self._wait(symbol), self._newest[symbol]
        expected = self._expected(market, wait)
        if expected is None or expected[1] <= closed_at:
            return None
        grid = self._known.sessions(market).grid(self._timeframe, newest, expected[0])
        overdue = grid.filter(pl.col("label") > newest).rows() or [expected]
        label, closed_at = overdue[0]
        more = f" and {len(overdue) - 1} more" if len(overdue) > 1 else ""
        due, which = closed_at + wait, label_of(label, self._timeframe)
        text = f"late {since_when(due)}: the bar of {which}{more} did not come; {self._last_words(symbol)}"
        return self._silence(symbol, Silent.LATE, text, since=due)

    def _last_words(self, symbol: str) -> str:
        missing = self._missing.get(symbol)
        if missing is None:
            return "no poll was completed since then (is `barwatch run` running?)"
        if _SAID_ALREADY in missing["why"]:
            return f"polls find nothing newer than {label_of(self._newest[symbol][0], self._timeframe)}"
        return str(missing["why"])

    def _failed(self, symbol: str) -> Silence | None:
        if symbol not in self._missing:
            return None
        missing = self._missing[symbol]
        text = f"polls fail {since_when(missing['since'])}: {missing['why']}"
        return self._silence(symbol, Silent.FAILED, text, since=missing["since"])

    def _waiting(self, symbol: str) -> Silence:
        market, wait = self._watched.markets[symbol], self._wait(symbol)
        closes = self._next_close(market, max(self._now - wait, self._newest[symbol][1]))
        is_open, turns = self._known.sessions(market).at(self._now)
        reason, until = Silent.FORMING, closes
        if closes <= self._now:
            why = f"it closed {moment(closes)}"
        elif is_open:
            why = f"it is forming and closes {moment(closes)}"
        else:
            reason, until = Silent.CLOSED, turns
            why = f"{market} is closed until {moment(turns)}"
        text = f"up to date, next bar due {moment(closes + wait)}: {why}"
        return self._silence(symbol, reason, text, until=until, due=closes + wait)

    def _wait(self, symbol: str) -> timedelta:
        lag = self._known.sources.lag(self._watched.markets[symbol], self._timeframe, self._origins.get(symbol, ""))
        return self._watched.grace + lag


@dataclass(frozen=True)
class Gap:
    """Bars from one label to another that follow upon each other on the calendar; `state` as it was recorded."""

    first: datetime
    last: datetime
    bars: int
    state: str


@dataclass(frozen=True)
class Gaps:
    """What a whole stored history lacks, newest first.

    `expected` is how many bars the calendar has from the first to the last stored one, `came` how many of those are
    stored, `beside` how many stored bars it does not know.
    """

    expected: int
    came: int
    beside: int
    ranges: tuple[Gap, ...]

    @property
    def on_the_grid(self) -> bool:
        """Whether the bars keep the hours of the calendar at all."""
        return self.came >= self.expected * ON_THE_GRID


def find_gaps(history: pl.DataFrame, holes: pl.DataFrame, timeframe: Timeframe, sessions: Sessions) -> Gaps:
    """Hold the labels of a history against the calendar.

    Shape: `history` is one symbol's BAR_SCHEMA frame, `holes` its recorded HOLES.
    """
    if history.is_empty():
        return Gaps(0, 0, 0, ())
    grid = sessions.grid(timeframe, history["ts"][0], history["ts"][-1]).select(ts="label")
    came = grid.join(history, on="ts", how="semi").height
    lacking = (
        grid.with_row_index("place")
        .join(history.select("ts", here=True), on="ts", how="left", maintain_order="left")
        .join(holes.select("ts", "state"), on="ts", how="left", maintain_order="left")
        .filter(pl.col("here").is_null() | (pl.col("state") == HoleState.FILLED))
        .with_columns(pl.col("state").fill_null(UNRECORDED))
    )
    runs = lacking.group_by((pl.col("place") - pl.int_range(pl.len())).alias("run"), "state").agg(
        pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last"), pl.len().alias("bars")
    )
    ranges = runs.sort("first", descending=True).select("first", "last", "bars", "state")
    return Gaps(grid.height, came, history.height - came, tuple(Gap(*row) for row in ranges.iter_rows()))


def label_of(ts: datetime, timeframe: Timeframe) -> str:
    """A bar's label as people read it: bars of a day and longer have no time of day."""
    return moment(ts) if timeframe.intraday else f"{ts:%Y-%m-%d}"


def moment(at: datetime) -> str:
    """An instant as `2026-11-20 21:30 UTC`, with the seconds where there are any."""
    return f"{at:%Y-%m-%d %H:%M:%S}".removesuffix(":00") + " UTC"


def since_when(at: datetime) -> str:
    """An instant of the past as `since 2026-11-20 21:30 UTC`."""
    return f"since {at:%Y-%m-%d %H:%M} UTC"


def enumerated(names: Sequence[str], shown: int = 3) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
