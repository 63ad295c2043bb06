"""Policy: whether and where an event is told. Every event gets one decision for each of its channels, sent or held,
each with a Reason that is stored.

A *route* leads the events of a check to a channel. Several routes to one channel merge: the highest severity and the
shortest cooldown hold. *Told* is the newest earlier event of the same check and symbol that this channel was told.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.core.events import Event, EventKind
from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import InputError


class Severity(StrEnum):
    """How much it matters, in rising order."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class Reason(StrEnum):
    """Why an event was told on a channel, or was not."""

    TELL = "tell"
    COOLDOWN = "cooldown"
    WITHDRAWN = "withdrawn"
    NOTICE = "notice"


@dataclass(frozen=True)
class Cooldown:
    """A quiet time after an event was told: a length of market time, or a number of bars; exactly one is set."""

    length: timedelta | None = None
    bars: int | None = None

    def __str__(self) -> str:
        return f"{self.bars} bars" if self.bars is not None else str(self.length)

    def nominal(self, timeframe: str) -> timedelta:
        """Its length, a bar counted at its full length: for comparing cooldowns, not for timing them."""
        return self.length if self.length is not None else (self.bars or 0) * TIMEFRAMES[timeframe].length


_COOLDOWN = re.compile(r"(\d{1,5})\s*(bars?|m|h|d|w)")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_cooldown(text: str) -> Cooldown:
    """`"5 bars"`, `"90m"`, `"12h"`, `"3d"` or `"2w"`.

    Raises: InputError.
    """
    match = _COOLDOWN.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        raise InputError(f"cooldown {text!r} is not understood", 'write it as "5 bars", "90m", "12h", "3d" or "2w"')
    if match[2].startswith("bar"):
        return Cooldown(bars=int(match[1]))
    return Cooldown(length=int(match[1]) * _UNITS[match[2]])


@dataclass(frozen=True)
class Route:
    """The way of a check's events to one channel, as one watchlist wrote it."""

    watchlist: str
    check: str
    channel: str
    severity: Severity
    cooldown: Cooldown | None = None


@dataclass(frozen=True)
class Told:
    """When the channel was last told: the close of that event's bar, and how many bars have followed it."""

    closed_at: datetime
    bars_since: int


@dataclass(frozen=True)
class Decision:
    """Whether one event is told on one channel, why, and how."""

    channel: str
    reason: Reason
    detail: str
    severity: Severity
    check: str
    watchlists: tuple[str, ...]

    @property
    def tell(self) -> bool:
        return self.reason is not Reason.COOLDOWN


def merge(routes: Iterable[Route], timeframe: str) -> dict[str, list[Route]]:
    """The routes of each channel, the one with the shortest cooldown first."""
    channels: dict[str, list[Route]] = {}
    for route in routes:
        channels.setdefault(route.channel, []).append(route)
    for merged in channels.values():
        merged.sort(key=lambda route: route.cooldown.nominal(timeframe) if route.cooldown else timedelta(0))
    return channels


def decide(event: Event, routes: list[Route], told: Told | None) -> Decision:
    """The decision for the channel that all these routes lead to; `routes` as `merge` orders them."""
    severity = max((route.severity for route in routes), key=lambda severity: severity.rank)
    reason, detail = _cooldown(event, routes[0].cooldown, told)
    return Decision(
        channel=routes[0].channel,
        reason=reason,
        detail=detail,
        severity=Severity.INFO if event.kind is EventKind.EARLY_WARNING else severity,
        check=routes[0].check,
        watchlists=tuple(sorted({route.watchlist for route in routes})),
    )


def withdraw(told: Decision) -> Decision:
    """The decision to tell that what was told is withdrawn: to the same, at the same severity."""
    return replace(told, reason=Reason.WITHDRAWN, detail="to those who were told of it")


def _cooldown(event: Event, cooldown: Cooldown | None, told: Told | None) -> tuple[Reason, str]:
    if cooldown is None:
        return Reason.TELL, "no cooldown"
    if told is None:
        return Reason.TELL, f"not told before; cooldown {cooldown} begins"
    if cooldown.bars is not None:
        over, since = told.bars_since >= cooldown.bars, f"{told.bars_since} bars ago"
    else:
        passed = event.closed_at - told.closed_at
        over, since = passed >= cooldown.nominal(event.timeframe), f"{passed} ago"
    if over:
        return Reason.TELL, f"last told {since}, cooldown {cooldown} is over"
    return Reason.COOLDOWN, f"told {since}, quiet for {cooldown}"
