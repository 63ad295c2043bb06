"""Holes: bars that the calendar expects, that have not come, and that a later bar has overtaken.

No bar is evaluated past an open hole. A hole is open until its bar comes, the source says that nothing was traded, or
its *patience* is over: then the checks go on without it, which their watchers are told. Of an illiquid symbol, which
lacks bars all the time, a hole is nothing: a later bar confirms that there was none. The newest bar is *late*, not a
hole, when it should have come and no later one has.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

import polars as pl

from monitor.config.snapshot import Watched
from monitor.core.bars import INSTANT
from monitor.sessions import Sessions
from monitor.sources import Sources
from monitor.stores.bars import BarStore
from monitor.stores.quality import HoleState, Quality

REGULAR = 0.95
ON_THE_GRID = 0.5
JUDGED_BY = 100


class Holes:
    """Finds holes, and says how far each symbol may be evaluated.

    Unit: `patience` is in sessions; None waits for ever.
    """

    def __init__(
        self, bars: BarStore, quality: Quality, sessions: Callable[[str], Sessions], patience: int | None
    ) -> None:
        self._bars = bars
        self._quality = quality
        self._sessions = sessions
        self._patience = patience

    def settle(
        self, now: datetime, watched: Watched, cursors: Mapping[str, datetime], quiet: pl.DataFrame
    ) -> tuple[dict[str, datetime], dict[str, datetime]]:
        """Record the holes after each cursor; the first open one of a symbol, and the first one it gives up now."""
        expected = self._expected(watched, cursors)
        if expected.is_empty():
            return {}, {}
        symbols = expected["symbol"].unique().to_list()
        known = self._quality.holes(watched.timeframe.name, symbols, min(cursors[symbol] for symbol in symbols))
        holes = expected.join(known.select("symbol", "ts", "state"), on=["symbol", "ts"], how="left")
        states = [self._state(now, watched, cursors, quiet, hole) for hole in holes.iter_rows(named=True)]
        holes = holes.with_columns(pl.Series("now", states, pl.String)).drop_nulls("now")
        moved = holes.filter(pl.col("state").is_null() | (pl.col("state") != pl.col("now")))
        given_up = _first(moved.filter(pl.col("now") == HoleState.SKIPPED))
        self._quality.record_holes(
            watched.timeframe.name, moved.select("symbol", "ts", "closed_at", pl.col("now").alias("state")), now
        )
        return _first(holes.filter(pl.col("now") == HoleState.PENDING)), given_up

    def _expected(self, watched: Watched, cursors: Mapping[str, datetime]) -> pl.DataFrame:
        """The bars between each cursor and the newest stored bar that are not stored: symbol, ts, closed_at."""
        stored = self._bars.since(watched.timeframe.name, cursors).select("symbol", "ts")
        ends = stored.group_by("symbol").agg(pl.col("ts").first().alias("cursor"), pl.col("ts").last().alias("newest"))
        ends = ends.filter(pl.col("newest") > pl.col("cursor"))
        found = [pl.DataFrame(schema={"symbol": pl.String(), "ts": INSTANT, "closed_at": INSTANT})]
        for market in sorted({watched.markets[symbol] for symbol in ends["symbol"]}):
            among = ends.filter(pl.col("symbol").is_in([s for s, of in watched.markets.items() if of == market]))
            sessions = self._sessions(market)
            grid = sessions.grid(watched.timeframe, among["cursor"].min(), among["newest"].max())  # type: ignore[arg-type]
            due = grid.rename({"label": "ts"}).join(among, how="cross")
            # What is only guessed to be a session may be a holiday.
            due = due.filter(
                (pl.col("ts") > pl.col("cursor")) & (pl.col("ts") < pl.min_horizontal("newest", sessions.known_until))
            )
            found.append(due.join(stored, on=["symbol", "ts"], how="anti").select("symbol", "ts", "closed_at"))
        return pl.concat(found).sort("symbol", "ts")

    def _state(
        self,
        now: datetime,
        watched: Watched,
        cursors: Mapping[str, datetime],
        quiet: pl.DataFrame,
        hole: Mapping[str, object],
    ) -> HoleState | None:
        """What becomes of a hole; None where the symbol's bars are of another grid than the calendar's."""
        symbol, ts, closed_at = str(hole["symbol"]), hole["ts"], hole["closed_at"]
        if hole["state"] in (HoleState.SKIPPED, HoleState.ABSENT):
            return HoleState(str(hole["state"]))
        regular = self._regularity(watched, symbol, cursors[symbol])
        if regular < ON_THE_GRID:
            return None
        if regular < REGULAR or not quiet.filter(pl.col("symbol") == symbol, pl.col("ts") == ts).is_empty():
            return HoleState.ABSENT
        sessions = self._sessions(watched.markets[symbol])
        if self._patience is not None and sessions.closes_between(closed_at, now) >= self._patience:  # type: ignore[arg-type]
            return HoleState.SKIPPED
        return HoleState.PENDING

    def _regularity(self, watched: Watched, symbol: str, cursor: datetime) -> float:
        """Which part of the bars expected lately came."""
        sessions = self._sessions(watched.markets[symbol])
        stored = self._bars.window(watched.timeframe.name, {symbol: cursor}, {symbol: JUDGED_BY}).filter(
            pl.col("ts") <= cursor
        )
        grid = sessions.grid(watched.timeframe, stored["ts"][0], cursor).tail(JUDGED_BY)
        came = grid.join(stored, left_on="label", right_on="ts", how="semi").height
        return came / grid.height if grid.height else 0.0


def _first(holes: pl.DataFrame) -> dict[str, datetime]:
    return dict(holes.group_by("symbol").agg(pl.col("ts").min()).iter_rows())


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
    for symbol, bar in newest.items():
        market = watched.markets[symbol]
        wait = watched.grace + sources.lag(market, watched.timeframe)
        expected = sessions(market).newest_closed(watched.timeframe, now - wait)
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
