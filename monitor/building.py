"""Building: larger bars made of smaller ones, on the grid of their market's sessions.

A larger bar is *whole* when each smaller one that its sessions have has come, or is known not to have been traded. It
is known to have closed only when the newest smaller one had.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from monitor.core.bars import BAR_SCHEMA, RAW_SCHEMA
from monitor.core.resample import resample
from monitor.core.timeframe import Timeframe
from monitor.ports import QUIET, Fetched
from monitor.sessions import Sessions

REGULAR = 0.95
_RECENT = timedelta(days=10)


@dataclass(frozen=True)
class Asked:
    """What is wanted: bars of a timeframe, of each symbol since a label (None: all there are), and their markets.

    The markets of the symbols in `guessed` are for a provider to correct.
    """

    timeframe: Timeframe
    since: Mapping[str, datetime | None]
    markets: Mapping[str, str]
    guessed: frozenset[str]
    now: datetime

    @classmethod
    def all_of(
        cls, timeframe: Timeframe, markets: Mapping[str, str], guessed: frozenset[str], now: datetime
    ) -> "Asked":
        """All there are of each symbol that has a market."""
        return cls(timeframe, dict.fromkeys(markets), markets, guessed, now)

    def only(self, since: Mapping[str, datetime | None]) -> "Asked":
        return replace(self, since=since)


class Builder:
    """Makes larger bars, of fetched bars or of stored ones."""

    def __init__(self, sessions: Callable[[str], Sessions]) -> None:
        self._sessions = sessions

    def of_fetched(self, fetched: Fetched, smaller: Timeframe, asked: Asked) -> Fetched:
        """What a provider gave, as bars of the timeframe that was asked for.

        A bar that is not whole is left out until another session has closed, if the symbol's others are.
        """
        told = {symbol: of.market for symbol, of in fetched.instruments.items() if of.market}
        markets = {**asked.markets, **{symbol: told[symbol] for symbol in asked.guessed & told.keys()}}
        made, quiet, as_of = [pl.DataFrame(schema=RAW_SCHEMA)], [pl.DataFrame(schema=QUIET)], dict(fetched.as_of)
        for symbol, known in fetched.as_of.items():
            sessions = self._sessions(markets[symbol])
            bars = fetched.bars.filter(pl.col("symbol") == symbol)
            bars = bars.with_columns(closed_at=sessions.closed_at(bars["ts"], smaller)).select(*BAR_SCHEMA)
            bars = bars.filter(pl.col("closed_at") <= known)
            if bars.is_empty():
                continue
            as_of[symbol] = bars["closed_at"].max()  # type: ignore[assignment]
            still = fetched.quiet.filter(pl.col("symbol") == symbol)["ts"]
            grid = self._wholeness(sessions, bars, still, smaller, asked)
            larger = resample(bars, grid.select("label", "closed_at"))
            made.append(larger.join(grid.filter("takeable"), left_on="ts", right_on="label", how="semi"))
            quiet.append(grid.filter("quiet").select(pl.lit(symbol).alias("symbol"), pl.col("label").alias("ts")))
        return replace(fetched, bars=pl.concat(made).sort("symbol", "ts"), as_of=as_of, quiet=pl.concat(quiet))

    def of_stored(self, stored: pl.DataFrame, after: Mapping[str, datetime], asked: Asked) -> Fetched:
        """What stored bars, processed without an open hole, make of each symbol after a label.

        Shape: `stored` has BAR_SCHEMA. Where nothing of a bar was traded it is quiet.
        """
        made, quiet = [pl.DataFrame(schema=RAW_SCHEMA)], [pl.DataFrame(schema=QUIET)]
        as_of = dict(after)
        for (name,), bars in stored.group_by("symbol", maintain_order=True):
            symbol, known = str(name), bars["closed_at"].max()
            grid = self._grid(self._sessions(asked.markets[symbol]), bars, asked)
            grid = grid.filter((pl.col("label") > after[symbol]) & (pl.col("closed_at") <= known))
            larger = resample(bars, grid)
            made.append(larger)
            idle = grid.join(larger, left_on="label", right_on="ts", how="anti")
            quiet.append(idle.select(pl.lit(symbol).alias("symbol"), pl.col("label").alias("ts")))
            as_of[symbol] = known  # type: ignore[assignment]
        return Fetched(pl.concat(made).sort("symbol", "ts"), as_of, seen=as_of, quiet=pl.concat(quiet), built=after)

    def _grid(self, sessions: Sessions, bars: pl.DataFrame, asked: Asked) -> pl.DataFrame:
        """The larger bars of a span, without a first one that the smaller do not reach back to the beginning of."""
        first, last = bars["ts"][0], bars["ts"][-1]
        grid = sessions.grid(asked.timeframe, first - 2 * asked.timeframe.length, last)
        return (
            grid.filter(pl.col("label") >= first)
            if asked.timeframe.intraday
            else grid.filter(pl.col("label") >= first - asked.timeframe.length)
        )

    def _wholeness(
        self, sessions: Sessions, bars: pl.DataFrame, quiet: pl.Series, smaller: Timeframe, asked: Asked
    ) -> pl.DataFrame:
        """The larger bars of a span: label, closed_at, whether one is `takeable`, and whether it is `quiet`."""
        grid = self._grid(sessions, bars, asked)
        if grid.is_empty():
            return grid.with_columns(takeable=pl.lit(value=False), quiet=pl.lit(value=False))
        due = sessions.grid(smaller, grid["label"][0], grid["closed_at"].max()).rename({"label": "ts"})  # type: ignore[arg-type]
        due = due.join_asof(grid.rename({"closed_at": "end"}), left_on="ts", right_on="label")
        due = due.filter(pl.col("closed_at") <= pl.col("end")).with_columns(
            came=pl.col("ts").is_in(bars["ts"].to_list()), idle=pl.col("ts").is_in(quiet.to_list())
        )
        counted = due.group_by("label").agg(
            (pl.col("came") | pl.col("idle")).all().alias("whole"),
            (pl.col("idle").all() & ~pl.col("came").any()).alias("quiet"),
        )
        grid = grid.join(counted, on="label", how="left", maintain_order="left").with_columns(
            pl.col("whole").fill_null(value=True), pl.col("quiet").fill_null(value=False)
        )
        ends = grid["closed_at"].to_list()
        recent = pl.Series(
            [end > asked.now - _RECENT and sessions.closes_between(end, asked.now) == 0 for end in ends],
            dtype=pl.Boolean,
        )
        settled = grid["whole"].filter(~recent)
        regular = settled.is_empty() or (settled.mean() or 0) >= REGULAR  # type: ignore[operator]
        waited_for = recent & pl.lit(regular)
        begun_before = pl.int_range(pl.len()) == 0
        return grid.with_columns(takeable=pl.col("whole") | ~(waited_for | begun_before))
