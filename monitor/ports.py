"""The seams: what the pipeline and the dispatcher ask of market data and channels. Adapters satisfy them by shape."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import polars as pl

from monitor.core.timeframe import Timeframe
from monitor.errors import BarwatchError


@dataclass(frozen=True)
class Fetched:
    """What a provider knew: a raw bar frame, and for each symbol either when it knew it or why it has nothing.

    Shape: `bars` has `RAW_SCHEMA`, sorted by symbol and ts, sound; a forming bar may be the last of a symbol.
    `as_of` has every symbol of `bars`: a bar that closed after its symbol's `as_of` was still forming when it was read.
    """

    bars: pl.DataFrame
    as_of: Mapping[str, datetime]
    failures: Mapping[str, BarwatchError] = field(default_factory=dict)


class Provider(Protocol):
    """Where bars come from. Blocking: called in a thread."""

    @property
    def name(self) -> str: ...

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        """The bars of each symbol labelled at or after its `since` (None: all there are).

        Every symbol asked for is in `as_of` or in `failures`. One symbol's failure never hides another's bars.
        """
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
