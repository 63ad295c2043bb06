"""Holes: bars that the calendar expects, that have not come, and that a later bar has overtaken.

No bar is evaluated past an open hole. A hole is open until its bar comes, the source says that nothing was traded, or
its *patience* is over: then the checks go on without it, which their watchers are told. Of an illiquid symbol, which
lacks bars all the time, a hole is nothing: a later bar confirms that there was none. The newest bar is *late*, not a
hole, when it should have come and no later one has.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import polars as pl

from monitor.config.snapshot import Watched
from monitor.core.bars import INSTANT
from monitor.sessions import Sessions
from monitor.sources import Sources
from monitor.stores.bars import BarStore
from monitor.stores.quality import HOLES, HoleState, Quality

REGULAR = 0.95
ON_THE_GRID = 0.5
FEW = 20
JUDGED_BY = 100


class Holes:
    """Finds holes, and says how far each symbol may be evaluated.

    Unit: `patience` is in sessions; then a hole is given up, or still waited for if it is not to be skipped.
    """

    def __init__(
        self, bars: BarStore, quality: Quality, sessions: Callable[[str], Sessions], patience: int, *, skips: bool
    ) -> None:
        self._bars = bars
        self._quality = quality
        self._sessions = sessions
        self._patience = patience
        self._skips = skips

    def settle(
        self, now: datetime, watched: Watched, cursors: Mapping[str, datetime], quiet: pl.DataFrame
    ) -> tuple[dict[str, datetime], dict[str, datetime]]:
        """Record the holes after each cursor; the first open one of a symbol, and the first one now out of patience."""
        timeframe = watched.timeframe.name
        expected = self._expected(watched, cursors).join(quiet, on=["symbol", "ts"], how="anti")
        if expected.is_empty():
            return {}, {}
        symbols = expected["symbol"].unique().to_list()
        known = self._quality.holes(timeframe, symbols, min(cursors[symbol] for symbol in symbols))
        waiting, given_up, moved = [], [], []
        for (name,), holes in expected.join(
            known.select("symbol", "ts", "state"), on=["symbol", "ts"], how="left"
        ).group_by("symbol", maintain_order=True):
            symbol = str(name)
            if self._regularity(watched, symbol, cursors[symbol]) < REGULAR:
                continue
            closes = self._sessions(watched.markets[symbol]).closes_between
            for hole in holes.iter_rows(named=True):
                if hole["state"] == HoleState.SKIPPED:
                    continue
                over = closes(hole["closed_at"], now) - self._patience
                state = HoleState.SKIPPED if over >= 0 and self._skips else HoleState.PENDING
                if over == 0 or state is HoleState.SKIPPED:
                    given_up.append(hole)
                if state is HoleState.PENDING:
                    waiting.append(hole)
                if state != hole["state"]:
                    moved.append({**hole, "state": state.value})
        self._quality.record_holes(timeframe, pl.DataFrame(moved, HOLES))
        return _first(waiting), _first(given_up)

    def _expected(self, watched: Watched, cursors: Mapping[str, datetime]) -> pl.DataFrame:
        """The bars between each cursor and the newest stored bar that are not stored: symbol, ts, closed_at."""
        stored = self._bars.since(watched.timeframe.name, cursors).select("symbol", "ts")
        newest = dict(stored.group_by("symbol").agg(pl.col("ts").max()).iter_rows())
        alike: dict[tuple[str, datetime, datetime], list[str]] = {}
        for symbol, last in newest.items():
            if last > cursors[symbol]:
                alike.setdefault((watched.markets[symbol], cursors[symbol], last), []).append(symbol)
        found = [pl.DataFrame(schema={"symbol": pl.String(), "ts": INSTANT, "closed_at": INSTANT})]
        for (market, cursor, last), symbols in alike.items():
            sessions = self._sessions(market)
            # What is only guessed to be a session may be a holiday.
            grid = sessions.grid(watched.timeframe, cursor, min(last, sessions.known_until)).rename({"label": "ts"})
            due = grid.filter((pl.col("ts") > cursor) & (pl.col("ts") < last))
            if not due.is_empty():
                among = pl.DataFrame({"symbol": symbols}).join(due, how="cross")
                found.append(among.join(stored, on=["symbol", "ts"], how="anti"))
        return pl.concat(found).sort("symbol", "ts")

    def _regularity(self, watched: Watched, symbol: str, cursor: datetime) -> float:
        """Which part of the bars expected lately came, but for holes that are known; 0 on another grid than ours.

        Of a few bars that is hard to say: then it is all of them, if most are there.
        """
        name = watched.timeframe.name
        stored = self._bars.window(name, {symbol: cursor}, {symbol: JUDGED_BY}).filter(pl.col("ts") <= cursor)
        if stored.is_empty():
            return 1.0
        known = self._quality.holes(name, [symbol], stored["ts"][0])
        grid = self._sessions(watched.markets[symbol]).grid(watched.timeframe, stored["ts"][0], cursor)
        grid = grid.join(known, left_on="label", right_on="ts", how="anti").tail(JUDGED_BY)
        came = grid.join(stored, left_on="label", right_on="ts", how="semi").height
        share = came / grid.height if grid.height else 0.0
        return 1.0 if grid.height < FEW and share > ON_THE_GRID else share


def _first(holes: Iterable[Mapping[str, Any]]) -> dict[str, datetime]:
    first: dict[str, datetime] = {}
    for hole in holes:
        first.setdefault(hole["symbol"], hole["ts"])
    return first


def late(
    sessions: Callable[[str], Sessions],
    sources: Sources,
    now: datetime,
    watched: Watched,
    newest: Mapping[str, tuple[datetime, datetime] | None],
    quiet: pl.DataFrame | None = None,
) -> dict[str, str]:
    """The symbols whose newest bar should have been here by now, and which bar that is.

    `newest` has the label and `closed_at` of each symbol's newest bar, or None, `quiet` the bars in which the source
    says that nothing was traded.
    """
    missing = {}
    untraded = set() if quiet is None else set(quiet.iter_rows())
    due = {}
    for market in {watched.markets[symbol] for symbol in newest}:
        wait = watched.grace + sources.lag(market, watched.timeframe)
        due[market] = sessions(market).newest_closed(watched.timeframe, now - wait)
    for symbol, bar in newest.items():
        expected = due[watched.markets[symbol]]
        if expected and (bar is None or bar[1] < expected[1]):
            have = f"; the newest is of {bar[0]:%Y-%m-%d %H:%M}" if bar else ""
            why = "was not traded in" if (symbol, expected[0]) in untraded else "has not come yet"
            missing[symbol] = f"the bar of {expected[0]:%Y-%m-%d %H:%M} UTC {why}{have}"
    return missing


def waiting_for(holes: Mapping[str, datetime]) -> dict[str, str]:
    """What each symbol with an open hole waits for."""
    return {
        symbol: f"the bar of {ts:%Y-%m-%d %H:%M} UTC has not come though a later one has; its checks wait for it"
        for symbol, ts in holes.items()
    }
