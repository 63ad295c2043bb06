"""Re-evaluation: what the checks say of bars that have changed since they were evaluated.

A whole history is evaluated again, each check armed where it was. An event that no longer holds is *withdrawn*: an
event of its own, linked to the first. One that holds only now is a late event. One that still holds stays as it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from monitor.config.snapshot import Watched
from monitor.core.bars import PRICES
from monitor.core.evaluate import Memory, Plan, evaluate, evidence
from monitor.core.events import Event, EventKind, Value

LATE = "late"
WITHDRAWS = "withdraws"
_Values = tuple[Mapping[str, Value], Mapping[str, Value]]


@dataclass(frozen=True)
class Again:
    """A history evaluated again: the machines after it, its events, and what each check saw at a bar."""

    memory: Memory
    events: list[Event]
    evaluated: Mapping[str, tuple[Plan, pl.DataFrame]]

    def seen(self, check_digest: str, ts: datetime) -> _Values | None:
        """The bar with its class and trend, and the evidence of a check there; None where there is no such bar."""
        plan, bars = self.evaluated[check_digest]
        rows = bars.filter(pl.col("ts") == ts)
        if rows.is_empty():
            return None
        row = rows.row(0, named=True)
        check = next(check for check in plan.checks if check.digest == check_digest)
        return {name: row[name] for name in (*PRICES, "volume", "bar", "trend")}, evidence(row, check, plan.program)


def evaluate_again(history: pl.DataFrame, watched: Watched, states: pl.DataFrame) -> Again:
    """Evaluate one symbol's history up to its cursor as if for the first time, each check armed where it was.

    Shape: `history` has BAR_SCHEMA; `states` CHECK_STATES of this symbol.
    """
    symbol = history["symbol"][0]
    checks = {check.digest: check for check in watched.checks}
    first = evaluate(history, Plan.of({}, watched.method), watched.timeframe, Memory())
    states = states.filter(pl.col("symbol") == symbol, pl.col("check").is_in(list(checks)))
    machines, events = [first.memory.checks], []
    evaluated: dict[str, tuple[Plan, pl.DataFrame]] = {}
    for (armed_from,), armed in states.group_by("armed_from", maintain_order=True):
        plan = Plan.of({checks[digest]: [symbol] for digest in armed["check"]}, watched.method)
        found = evaluate(history, plan, watched.timeframe, Memory(), armed_from)
        machines.append(found.memory.checks)
        events += found.events
        evaluated |= dict.fromkeys(armed["check"], (plan, found.bars))
    return Again(Memory(trends=first.memory.trends, checks=pl.concat(machines)), events, evaluated)


def changes(again: Again, stored: Iterable[Event], since: datetime, why: str) -> list[tuple[Event, Event | None]]:
    """Each new event that follows from a re-evaluation, with the event that it withdraws, in order of time.

    `stored` are the symbol's events from `since` on, those of checks that are not watched any more are left alone.
    """
    known = [event for event in stored if event.check_digest in again.evaluated]
    withdrawn = {_place(event) for event in known if event.kind is EventKind.WITHDRAWN}
    live = [event for event in known if event.kind is not EventKind.WITHDRAWN and _place(event) not in withdrawn]
    hold = {(event.check_digest, event.ts, event.kind) for event in again.events}
    told = {(event.check_digest, event.ts, event.kind) for event in live}
    gone = [event for event in live if (event.check_digest, event.ts, event.kind) not in hold]
    taken = withdrawn | {_place(event) for event in gone}
    made: list[tuple[Event, Event | None]] = [(_withdrawal(event, again, why), event) for event in gone]
    for event in again.events:
        if event.ts >= since and (event.check_digest, event.ts, event.kind) not in told:
            revision = sum(place[:2] == (event.check_digest, event.ts) for place in taken)
            made.append((replace(event, revision=revision, evidence={**event.evidence, LATE: why}), None))
    return sorted(made, key=lambda pair: (pair[0].ts, pair[0].check_digest, pair[0].revision))


def _place(event: Event) -> tuple[str, datetime, int]:
    return event.check_digest, event.ts, event.revision


def _withdrawal(event: Event, again: Again, why: str) -> Event:
    bar, values = again.seen(event.check_digest, event.ts) or ({}, {})
    evidence = {**values, WITHDRAWS: event.key, "was": event.kind.value, "because": why}
    return replace(event, kind=EventKind.WITHDRAWN, bar=bar, evidence=evidence)
