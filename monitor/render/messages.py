"""Messages: what happened at closed bars, in words for people and in plain values for programs.

A *notice* is one event as it is told on one channel. Its *headline* says what, where and when on one line: the title of
a message of one notice, a line in a message of several. A notice is *late* when it is told more than two minutes after
its bar was due.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from monitor.core.events import Event, EventKind, Value
from monitor.core.timeframe import TIMEFRAMES
from monitor.ports import Message

PUNCTUAL = timedelta(minutes=2)
SEVERITIES = ("info", "warning", "critical")
SYMBOLS_NAMED = 5
UNSETTLED = "unsettled"
LATE = "late"

_HEADLINES = {
    EventKind.TREND_STARTED: "{where} turned {trend} {at} ({check})",
    EventKind.TREND_REVERSED: "{where} reversed from {previous} to {trend} {at} ({check})",
    EventKind.EARLY_WARNING: "{where}: first {bar} bar against the {trend} trend {at} ({check})",
    EventKind.BECAME_TRUE: "{where}: {check} became true {at}",
    EventKind.BECAME_FALSE: "{where}: {check} is no longer true {at}",
    EventKind.HOLDS: "{where}: {check} holds {at}",
    EventKind.WITHDRAWN: "{where}: withdrawn: {check} {was} at the close of {moment}; {because}",
    EventKind.QUARANTINED: "{where}: prices are not believed, its checks wait; {because}",
    EventKind.GAP: "{where}: {bars} did not come; the checks go on without{reach}",
}
_TOLD_OTHERWISE = {"late", "unsettled", "because", "was", "bars"}
_TREND_EVIDENCE = {"previous": "trend before", "state": "trend now", "run": "real bars in a row"}


@dataclass(frozen=True)
class Notice:
    """One event as it is told on one channel.

    `check` is the check's name as people call it; `due_at` is when the bar's close and the grace after it had passed.
    """

    event: Event
    check: str
    watchlists: tuple[str, ...]
    severity: str
    due_at: datetime
    provider: str
    config_digest: str


def compose(message_id: str, notices: Sequence[Notice], now: datetime) -> Message:
    """The message that tells these notices at `now`."""
    if len(notices) == 1:
        title, lines = _headline(notices[0]), _details(notices[0], now)
    else:
        title = _count(notices)
        lines = ["; ".join([_headline(notice), *_caveats(notice, now)]) for notice in notices]
    return Message(
        id=message_id,
        severity=max((notice.severity for notice in notices), key=SEVERITIES.index),
        title=title,
        lines=tuple(lines),
        events=tuple(_for_programs(notice) for notice in notices),
    )


def _headline(notice: Notice) -> str:
    event = notice.event
    return _HEADLINES[event.kind].format(
        where=f"{event.symbol} {event.timeframe}",
        at=f"at the close of {_moment(event)}, {_words(event.bar.get('close'))}",
        check=notice.check,
        bar=_class(event),
        trend=_words(event.bar.get("trend")),
        previous=_words(event.evidence.get("previous")),
        moment=_moment(event),
        was=_words(event.evidence.get("was")).replace("_", " "),
        because=_words(event.evidence.get("because")),
        bars=_bars(event),
        reach=f" ({event.evidence['because']})" if "because" in event.evidence else "",
    )


def _count(notices: Sequence[Notice]) -> str:
    moments = {_moment(notice.event) for notice in notices}
    at = f" at the close of {moments.pop()}" if len(moments) == 1 else ""
    symbols = list(dict.fromkeys(notice.event.symbol for notice in notices))
    more = f" and {len(symbols) - SYMBOLS_NAMED} more" if len(symbols) > SYMBOLS_NAMED else ""
    return f"{len(notices)} events{at}: {', '.join(symbols[:SYMBOLS_NAMED])}{more}"


def _details(notice: Notice, now: datetime) -> list[str]:
    event = notice.event
    lists = "watchlist" if len(notice.watchlists) == 1 else "watchlists"
    return [
        *(_bar(event) if event.bar else []),
        *(f"{_TREND_EVIDENCE.get(part, part)} = {_words(value)}" for part, value in _parts(event)),
        *([f"{lists} {', '.join(notice.watchlists)}"] if notice.watchlists else []),
        *_caveats(notice, now),
    ]


def _bar(event: Event) -> list[str]:
    values = [f"{name} {_words(event.bar.get(name))}" for name in ("open", "high", "low", "close")]
    if event.bar.get("volume") is not None:
        values.append(f"volume {_words(event.bar['volume'])}")
    return [", ".join(values), f"{_class(event)} bar, trend {_words(event.bar.get('trend'))}"]


def _bars(event: Event) -> str:
    count = event.evidence.get("bars")
    return f"the bar of {_moment(event)}" if count == 1 else f"{_words(count)} bars up to that of {_moment(event)}"


def _parts(event: Event) -> Iterable[tuple[str, Value]]:
    return ((part, value) for part, value in event.evidence.items() if part not in _TOLD_OTHERWISE)


def _caveats(notice: Notice, now: datetime) -> list[str]:
    caveats = []
    if notice.event.evidence.get(UNSETTLED):
        caveats.append("unsettled: with more history before this bar, the values could differ")
    if notice.event.evidence.get(LATE):
        caveats.append(f"late: {notice.event.evidence[LATE]}")
    if now - notice.due_at > PUNCTUAL:
        caveats.append(f"{_span(now - notice.due_at)} after the bar was due")
    return caveats


def _for_programs(notice: Notice) -> Mapping[str, Any]:
    event = notice.event
    return {
        "key": event.key,
        "check": notice.check,
        "watchlists": list(notice.watchlists),
        "symbol": event.symbol,
        "timeframe": event.timeframe,
        "ts": _instant(event.ts),
        "closed_at": _instant(event.closed_at),
        "due_at": _instant(notice.due_at),
        "kind": event.kind.value,
        "severity": notice.severity,
        "bar": {name: _finite(value) for name, value in event.bar.items()},
        "evidence": {part: _finite(value) for part, value in event.evidence.items()},
        "check_digest": event.check_digest,
        "provider": notice.provider,
        "config_digest": notice.config_digest,
    }


def _moment(event: Event) -> str:
    """The close as people name it: a session by its date, a longer bar by its week or month, an hour by its end."""
    if TIMEFRAMES[event.timeframe].intraday:
        closed = event.closed_at.astimezone(UTC)
        return f"{closed.day} {closed:%b %Y %H:%M} UTC"
    if event.timeframe == "1mo":
        return f"{event.ts:%B %Y}"
    date = f"{event.ts.day} {event.ts:%b %Y}"
    return f"the week of {date}" if event.timeframe == "1wk" else date


def _class(event: Event) -> str:
    return _words(event.bar.get("bar")).replace("_", " ")


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _span(time: timedelta) -> str:
    """A length of time in its two largest units."""
    hours, minutes = divmod(int(time.total_seconds()) // 60, 60)
    days, hours = divmod(hours, 24)
    units = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count]
    return " ".join(units[:2])


def _finite(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _words(value: Value) -> str:
    value = _finite(value)
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    """Seven significant digits, which is what market data carries, and no fewer than two decimals; no empty zeros."""
    size = abs(value)
    if size == 0:
        return "0"
    if not 1e-9 <= size < 1e15:
        return f"{value:.7g}"
    decimals = max(2, 6 - math.floor(math.log10(size)))
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")
