"""Findings: what the doctor has to say.

A *finding* is one line: what was looked at, whether it is `ok`, a `warning` or `failed`, and what to do about it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from monitor.errors import BarwatchError

if TYPE_CHECKING:
    from monitor.config.snapshot import Watched
    from monitor.diagnosis import Known, Silence

OK, WARNING, FAILED = "ok", "warning", "failed"
RECENT_SESSIONS = 10

_SPELLING = "is the name right? `barwatch watchlist remove` takes it out"
_MORE = "`barwatch bars SYMBOL TIMEFRAME` says more"
_FALLBACK = "they are asked for again for ten sessions; a fallback may have them"
_BELIEF = "they are taken up when they come right or a fallback agrees"

Concerns = list[tuple[str, str]]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's; `concerns` has one for each series that it sums up."""

    check: str
    state: str
    found: str
    hint: str = ""
    concerns: tuple[str, ...] = ()

    @classmethod
    def of(cls, check: str, error: BarwatchError, state: str = FAILED) -> "Finding":
        return cls(check, state, error.message, error.hint)


def about_series(known: "Known", watched: Sequence["Watched"], now: datetime) -> Iterator[Finding]:
    """What is the matter with the watched series, one finding for each kind of trouble."""
    from monitor.diagnosis import Diagnosis, Silent

    without: Concerns = []
    stale: Concerns = []
    state = WARNING
    for one in watched:
        diagnosis = Diagnosis(known, one, one.markets, now)
        for symbol, market in sorted(one.markets.items()):
            silence = diagnosis.of(symbol)
            if silence.reason is Silent.RESTING:
                silence = diagnosis.late(symbol) or silence
            if silence.reason is Silent.NO_BARS:
                without.append(_told(silence))
            elif silence.reason in (Silent.LATE, Silent.FAILED):
                stale.append(_told(silence))
                if silence.since and known.sessions(market).closes_between(silence.since, now):
                    state = FAILED
    count = sum(len(one.markets) for one in watched)
    no_data = Finding("data", FAILED, f"of {count} series without data", _SPELLING)
    yield _summed(no_data, without, f"all {count} series have some")
    late = Finding("newest bars", state, f"of {count} series late or failing", _MORE)
    yield _summed(late, stale, "none is late")
    yield _gaps(known, watched, now)
    yield _quarantines(known, watched)


def _told(silence: "Silence") -> tuple[str, str]:
    return f"{silence.symbol} {silence.timeframe}", silence.text.removeprefix("no data: ")


def _gaps(known: "Known", watched: Sequence["Watched"], now: datetime) -> Finding:
    """The holes that are waited for, and the newest of those that were given up."""
    from monitor.diagnosis import label_of
    from monitor.stores.quality import HoleState

    counted: dict[tuple[str, str], list[str]] = {}
    for one in watched:
        holes = known.quality.holes(one.timeframe.name, one.markets)
        for symbol, ts, closed_at, state in holes.iter_rows():
            sessions = known.sessions(one.markets[symbol])
            recent = state == HoleState.SKIPPED and sessions.closes_between(closed_at, now) <= RECENT_SESSIONS
            if recent or state == HoleState.PENDING:
                counted.setdefault((f"{symbol} {one.timeframe}", state), []).append(label_of(ts, one.timeframe))
    words = {HoleState.PENDING: "waited for", HoleState.SKIPPED: "given up"}
    concerns = [(name, f"{len(ts)} {words[HoleState(state)]}, from {ts[0]}") for (name, state), ts in counted.items()]
    otherwise = f"none is waited for, none was given up in the last {RECENT_SESSIONS} sessions"
    return _summed(Finding("gaps", WARNING, "series with holes", _FALLBACK), concerns, otherwise)


def _quarantines(known: "Known", watched: Sequence["Watched"]) -> Finding:
    from monitor.diagnosis import since_when

    concerns = [
        (f"{symbol} {one.timeframe}", f"{since_when(doubt.found_at)}: {doubt.why}")
        for one in watched
        for symbol, doubt in known.quality.quarantines(one.timeframe.name, one.markets).items()
    ]
    return _summed(Finding("quarantine", WARNING, "series with bars that are not believed", _BELIEF), concerns, "empty")


def _summed(trouble: Finding, concerns: Concerns, otherwise: str) -> Finding:
    """The trouble of some series in one line: which, and the whole story of the first; `otherwise` if there is none."""
    from monitor.diagnosis import enumerated

    if not concerns:
        return Finding(trouble.check, OK, otherwise)
    names = enumerated([name for name, _ in concerns])
    first, story = concerns[0]
    found = f"{len(concerns)} {trouble.found}: {names}"
    found += f" ({story})" if len(concerns) == 1 else f" (of {first}: {story})"
    return replace(trouble, found=found, concerns=tuple(f"{name}: {story}" for name, story in concerns))
