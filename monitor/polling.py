"""Polling: what a provider gave in one poll, and which of its bars have closed.

A bar has *closed* when its end and the grace time are past, it had ended when the provider knew it, and either the
provider's usual lag is past too or it has *seen* a later trade.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from monitor.building import Asked
from monitor.config.snapshot import Watched
from monitor.core.adjust import Split
from monitor.core.bars import BAR_SCHEMA, INSTANT
from monitor.ports import Fetched
from monitor.sessions import Sessions
from monitor.sources import Sources
from monitor.stores.bars import Taken
from monitor.stores.quality import Quarantine


@dataclass
class Poll:
    """One poll of some symbols at one timeframe, as it goes on; `taken` is what is to be stored of it."""

    now: datetime
    watched: Watched
    origins: Mapping[str, str]
    cursors: Mapping[str, datetime]
    quarantines: Mapping[str, Quarantine]
    taken: Taken
    splits: dict[str, tuple[Split, ...]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    vouched: set[str] = field(default_factory=set)
    built: dict[str, datetime] = field(default_factory=dict)
    quiet: list[pl.DataFrame] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def timeframe(self) -> str:
        return self.watched.timeframe.name

    def asked(self, since: Mapping[str, datetime | None]) -> Asked:
        return Asked(self.watched.timeframe, since, self.watched.markets, self.watched.guessed, self.now)


def only_closed(
    fetched: Fetched,
    watched: Watched,
    sources: Sources,
    sessions: Callable[[str], Sessions],
    now: datetime,
) -> pl.DataFrame:
    """The bars that had closed when their provider knew them, and have for the grace time by now.

    Shape: BAR_SCHEMA, sorted by symbol and ts.
    """
    known = pl.DataFrame(
        [
            (
                symbol,
                watched.markets[symbol],
                min(now, as_of),
                fetched.seen.get(symbol),
                fetched.sources.get(symbol, ""),
            )
            for symbol, as_of in fetched.as_of.items()
        ],
        {"symbol": pl.String(), "market": pl.String(), "known": INSTANT, "seen": INSTANT, "source": pl.String()},
        orient="row",
    )
    bars = fetched.bars.join(known, on="symbol", maintain_order="left")
    closing = [pl.DataFrame(schema=BAR_SCHEMA)]
    for market, source in known.select("market", "source").unique().iter_rows():
        part = bars.filter(pl.col("market") == market, pl.col("source") == source)
        part = part.with_columns(closed_at=sessions(market).closed_at(part["ts"], watched.timeframe))
        settled = pl.col("closed_at") + watched.grace
        lag = sources.lag(market, watched.timeframe, source)
        waited = (settled + lag <= now) | (pl.col("closed_at") <= pl.col("seen")).fill_null(value=False)
        closed = (pl.col("closed_at") <= pl.col("known")) & (settled <= now) & waited
        closing.append(part.filter(closed).select(*BAR_SCHEMA))
    return pl.concat(closing).sort("symbol", "ts")
