"""The seams: what the pipeline and the dispatcher ask of market data and channels. Adapters satisfy them by shape."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import polars as pl

from monitor.core.adjust import Split
from monitor.core.bars import INSTANT
from monitor.core.timeframe import Timeframe
from monitor.errors import BarwatchError

QUIET = pl.Schema({"symbol": pl.String(), "ts": INSTANT})


@dataclass(frozen=True)
class Instrument:
    """What a provider says that a symbol is: its market (None where it does not say), its currency, and its kind.

    `currency` is written as the provider quotes prices: `GBp` is pence. `kind` is `equity`, `etf`, `index`, `currency`,
    `crypto`, `future` or empty.
    """

    market: str | None = None
    currency: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Fetched:
    """What a provider knew: a raw bar frame, and for each symbol either when it knew it or why it has nothing.

    `splits` are those it names, `vouched` the symbols whose prices it shows to have all splits worked in, `instruments`
    what it says the symbols are, `quiet` the labels at which it says that nothing was traded, `seen` the newest trade
    it knew of, `built` the label after which a symbol's bars are built from stored ones, `hours` the open and the close
    of each symbol's session of the day, `told_at` the time by its own clock, `sources` who gave a symbol where that is
    not the provider asked.
    Shape: `bars` has `RAW_SCHEMA`, sorted by symbol and ts, sound; a forming bar may be the last of a symbol. `quiet`
    has symbol and ts. `as_of` has every symbol of `bars`: a bar that closed after its symbol's `as_of` was still
    forming when it was read.
    """

    bars: pl.DataFrame
    as_of: Mapping[str, datetime]
    failures: Mapping[str, BarwatchError] = field(default_factory=dict)
    splits: Mapping[str, tuple[Split, ...]] = field(default_factory=dict)
    instruments: Mapping[str, Instrument] = field(default_factory=dict)
    quiet: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=QUIET))
    vouched: Collection[str] = ()
    built: Mapping[str, datetime] = field(default_factory=dict)
    seen: Mapping[str, datetime] = field(default_factory=dict)
    hours: Mapping[str, tuple[datetime, datetime]] = field(default_factory=dict)
    told_at: datetime | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


class Provider(Protocol):
    """Where bars come from. Blocking: called in a thread.

    `native` are the names of the timeframes it has itself, `batch` how many symbols are worth asking for at once;
    where requests are `scarce`, what can be built from other bars is not asked for.
    """

    @property
    def name(self) -> str: ...

    @property
    def native(self) -> Collection[str]: ...

    @property
    def batch(self) -> int: ...

    @property
    def scarce(self) -> bool: ...

    def lag(self, market: str, timeframe: Timeframe) -> timedelta:
        """How much later than the market it knows the bars of a market."""
        ...

    def lookback(self, timeframe: Timeframe) -> timedelta | None:
        """How far back it has bars; None for all there are."""
        ...

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        """The bars of each symbol labelled at or after its `since` (None: all there are).

        Every symbol asked for is in `as_of` or in `failures`. One symbol's failure never hides another's bars.
        """
        ...

    def close(self) -> None:
        """Let go of threads and connections; a fetch under way ends soon, with failures."""
        ...


@dataclass(frozen=True)
class Message:
    """A notification in words, before a channel gives it its form.

    `title` is one line that stands alone; `lines` say more; `events` are plain JSON values for programs.
    """

    id: str
    severity: str
    title: str
    lines: tuple[str, ...]
    events: tuple[Mapping[str, Any], ...]


class Channel(Protocol):
    """A way to reach people. `seal` fixes the bytes once; `deliver` may repeat them, always under the same id."""

    @property
    def name(self) -> str: ...

    def seal(self, message: Message) -> bytes:
        """The message in this channel's form. Pure: the same message gives the same bytes."""
        ...

    async def deliver(self, message_id: str, payload: bytes, now: datetime) -> str:
        """Send sealed bytes; a short answer of the receiver for the record.

        Raises: TransientFailure, PermanentFailure, UnknownOutcome.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections and files."""
        ...
