"""Notices: what Barwatch itself has to say about a symbol, as an event that goes to all who watch it."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from monitor.config.snapshot import Watched
from monitor.core.events import Event, EventKind, Value, digest
from monitor.core.policy import Decision, Reason, Severity


class Bar(NamedTuple):
    """The bar that a notice is about, which need not be there."""

    symbol: str
    ts: datetime
    closed_at: datetime


def notice(kind: EventKind, watched: Watched, at: Bar, evidence: Mapping[str, Value]) -> Event:
    """The event of a notice: of the same bar there is one of a kind, however often it is made."""
    return Event(
        check_digest=digest(kind),
        symbol=at.symbol,
        timeframe=watched.timeframe.name,
        ts=at.ts,
        closed_at=at.closed_at,
        kind=kind,
        bar={},
        evidence=evidence,
    )


def to_all(watched: Watched, event: Event) -> list[Decision]:
    """To every channel that anything about its symbol goes to."""
    routes = [route for (_, symbol), there in watched.routes.items() if symbol == event.symbol for route in there]
    return [
        Decision(
            channel=channel,
            reason=Reason.NOTICE,
            detail="a notice goes to all who watch the symbol",
            severity=Severity.WARNING,
            check=event.kind.value,
            watchlists=tuple(sorted({route.watchlist for route in routes if route.channel == channel})),
        )
        for channel in sorted({route.channel for route in routes})
    ]
