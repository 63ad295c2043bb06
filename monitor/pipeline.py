"""The pipeline: a cycle takes up the bars that have closed, evaluates them and decides what to tell.

A cycle writes twice: first the bars into their own file, with what is owed because they changed, then memory, events
and decisions in one transaction. Evaluation starts from the stored bars after each symbol's cursor, so a cycle that was
cut short anywhere is simply done again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from monitor.config.snapshot import Watched
from monitor.core import policy
from monitor.core.bars import INSTANT
from monitor.core.evaluate import Memory, evaluate
from monitor.core.events import Event, EventKind, Value, digest
from monitor.core.policy import Decision, Told
from monitor.holes import Holes, late, waiting_for
from monitor.intake import Intake
from monitor.notices import Bar, notice, to_all
from monitor.polling import Poll
from monitor.reevaluation import changes, evaluate_again
from monitor.sessions import Sessions
from monitor.sources import Sources
from monitor.stores.bars import BarStore
from monitor.stores.quality import HoleState, Quality, RevisionKind
from monitor.stores.state import Commit, StateStore

_QUIET_KINDS = (RevisionKind.MINOR, RevisionKind.LEFT_OUT)

Decided = tuple[Event, str, datetime, list[Decision]]


@dataclass
class Cycle:
    """What one cycle did: a receipt.

    `missing` says of each symbol that was not brought up to date why; `rewritten` has those whose stored history the
    provider has changed; `markets` the market that each symbol turned out to be of.
    """

    timeframe: str
    asked: int = 0
    evaluated: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)
    bars: int = 0
    events: list[Event] = field(default_factory=list)
    told: int = 0
    held: int = 0
    markets: dict[str, str] = field(default_factory=dict)

    def add(self, other: "Cycle") -> None:
        """Join another cycle of the same timeframe to this one."""
        for name, value in vars(other).items():
            if name != "timeframe":
                mine = getattr(self, name)
                setattr(self, name, mine | value if isinstance(value, dict) else mine + value)

    def receipt(self) -> dict[str, Any]:
        """The numbers, and why each missing symbol is missing; JSON-ready."""
        shown = {name: value for name, value in vars(self).items() if name != "markets"}
        return shown | {"evaluated": len(self.evaluated), "events": len(self.events)}


@dataclass(frozen=True)
class Stores:
    """What a pipeline keeps things in."""

    bars: BarStore
    quality: Quality
    state: StateStore


class Pipeline:
    """Runs cycles against the sources and the stores; one cycle at a time."""

    def __init__(self, sources: Sources, stores: Stores, sessions: Callable[[str], Sessions], holes: Holes) -> None:
        self._sources = sources
        self._bars, self._quality, self._state = stores.bars, stores.quality, stores.state
        self._sessions = sessions
        self._intake = Intake(sources, stores.bars, stores.quality, sessions)
        self._holes = holes

    def known_markets(self, watched: Watched) -> Watched:
        """The same, with the markets that providers have told."""
        return watched.knowing(self._quality.instruments())

    def run_cycle(self, now: datetime, watched: Watched, symbols: Iterable[str]) -> Cycle:
        """Take up every bar of these symbols that has closed by `now` and was not processed yet.

        A symbol without bars, or whose bars are not to be trusted, is named in the receipt and tried again by the next
        cycle.
        """
        asked = sorted(symbols)
        cycle = Cycle(watched.timeframe.name, len(asked))
        watched = self.known_markets(watched)
        self._reevaluate(now, watched, asked, cycle)  # what a cycle that was cut short still owes
        poll = self._intake.take_up(now, watched, asked, self._cursors(watched, asked))
        watched = poll.watched
        self._reevaluate(now, watched, asked, cycle)
        self._tell_quarantines(poll, cycle)
        waiting = self._settle_holes(poll, asked, cycle)
        self._evaluate(now, watched, asked, waiting, cycle)
        newest = dict.fromkeys(asked) | self._bars.newest_closes(cycle.timeframe, asked)
        missing = late(self._sessions, self._sources, now, watched, newest, pl.concat(poll.quiet))
        self._receipt(cycle, poll, missing | waiting_for(waiting))
        self._quality.note_missing(cycle.timeframe, asked, cycle.missing, now)
        return cycle

    def _receipt(self, cycle: Cycle, poll: Poll, missing: Mapping[str, str]) -> None:
        taken = poll.taken
        cycle.missing = {**missing, **poll.missing}
        cycle.markets = {symbol: poll.watched.markets[symbol] for symbol in poll.origins.keys() | poll.sources.keys()}
        cycle.bars += sum(bars.height for bars in (*taken.bars, *taken.histories.values()))
        changed = {revision.symbol for revision in taken.revisions if revision.kind not in _QUIET_KINDS}
        cycle.rewritten = sorted({*cycle.rewritten, *changed})

    def _cursors(self, watched: Watched, symbols: Collection[str]) -> dict[str, datetime]:
        return self._state.cursors(watched.timeframe.name, symbols)

    def _settle_holes(self, poll: Poll, symbols: list[str], cycle: Cycle) -> dict[str, datetime]:
        """The first open hole of each symbol that has one. What one provider lacks, another may have."""
        cursors = self._cursors(poll.watched, symbols)
        quiet = pl.concat(poll.quiet)
        waiting, given_up = self._holes.settle(poll.now, poll.watched, cursors, quiet)
        switched = [symbol for symbol, ts in given_up.items() if self._intake.switch(poll, symbol, ts)]
        if switched:
            self._reevaluate(poll.now, poll.watched, symbols, cycle)
            waiting, _ = self._holes.settle(poll.now, poll.watched, cursors, quiet)
        return waiting

    def _reevaluate(self, now: datetime, watched: Watched, symbols: list[str], cycle: Cycle) -> None:
        """Evaluate again what has changed behind a cursor, and withdraw or tell late what follows from it."""
        timeframe = watched.timeframe.name
        owed = self._quality.reevaluations(timeframe, symbols)
        cursors = self._cursors(watched, list(owed))
        for symbol, reevaluation in owed.items():
            if symbol not in cursors:
                continue
            history = self._bars.newest(timeframe, [symbol], None).filter(pl.col("ts") <= cursors[symbol])
            if history.is_empty():  # it is had from a source now that does not reach back to its cursor
                continue
            states = self._state.memory(timeframe, digest(vars(watched.method)), [symbol]).checks
            again = evaluate_again(history, watched, states)
            decided: list[Decided] = []
            if reevaluation.compare:
                rescaled = self._quality.rescaled_upto(timeframe, symbol)
                since = max(reevaluation.since, rescaled + timedelta.resolution) if rescaled else reevaluation.since
                stored = self._state.events(timeframe, symbol, since)
                decided = self._decide_changes(watched, changes(again, stored, since, reevaluation.why))
            self._commit(now, watched, again.memory, decided)
            _count(cycle, decided)
        if owed:
            self._quality.settle(timeframe, owed)

    def _decide_changes(self, watched: Watched, made: list[tuple[Event, Event | None]]) -> list[Decided]:
        """A late event goes the way of all events, a withdrawal to those who were told what it withdraws."""
        decided = [
            (
                event,
                watched.names[event.check_digest],
                self._due_at(event, watched),
                [policy.withdraw(decision) for decision in self._state.told_of(first.key)],
            )
            for event, first in made
            if first
        ]
        return decided + self._decide([event for event, first in made if first is None], watched)

    def _evaluate(
        self, now: datetime, watched: Watched, symbols: list[str], waiting: Mapping[str, datetime], cycle: Cycle
    ) -> None:
        """Evaluate the stored bars after each cursor, decide about the events, and commit all of it at once."""
        memory = self._state.memory(watched.timeframe.name, digest(vars(watched.method)), symbols)
        cursors, depths = self._due(watched, symbols, waiting, memory)
        if not cursors:
            return
        bars = self._bars.window(watched.timeframe.name, cursors, depths)
        for symbol, hole in waiting.items():
            bars = bars.filter((pl.col("symbol") != symbol) | (pl.col("ts") < hole))
        evaluation = evaluate(bars, watched.plan, watched.timeframe, memory)
        decided = self._gaps(now, watched, cursors, evaluation.memory) + self._decide(evaluation.events, watched)
        self._commit(now, watched, evaluation.memory, decided)
        cycle.evaluated = sorted(cursors)
        _count(cycle, decided)

    def _gaps(
        self, now: datetime, watched: Watched, cursors: Mapping[str, datetime | None], after: Memory
    ) -> list[Decided]:
        """One notice for each symbol whose checks go on without bars that should have come."""
        timeframe = watched.timeframe.name
        since = min(filter(None, cursors.values()), default=None)
        known = self._quality.holes(timeframe, list(cursors), since)
        skipped = known.filter(pl.col("state") == HoleState.SKIPPED)
        if skipped.is_empty():
            return []
        moved = {symbol: (cursors[symbol], cursor) for symbol, cursor in after.cursors.iter_rows()}
        decided = []
        for (name,), holes in skipped.group_by("symbol", maintain_order=True):
            symbol = str(name)
            before, cursor = moved.get(symbol, (None, None))
            passed = holes.filter(pl.col("ts").is_between(before, cursor)) if before else holes.clear()
            if passed.is_empty():
                continue
            first, last = passed.row(0, named=True), passed.row(-1, named=True)
            evidence: dict[str, Value] = {"bars": passed.height, "first": f"{first['ts']:%Y-%m-%d %H:%M} UTC"}
            reach = self._sources.lookback(watched.timeframe, self._bars.origin(timeframe, symbol) or "")
            if reach and first["closed_at"] < now - reach:
                evidence["because"] = f"its source reaches back {reach.days} days only"
            at = Bar(symbol, last["ts"], last["closed_at"])
            decided.append(self._notice(EventKind.GAP, watched, at, evidence))
        return decided

    def _tell_quarantines(self, poll: Poll, cycle: Cycle) -> None:
        """One notice for each symbol whose prices cannot be believed, however often they come."""
        watched, decided = poll.watched, []
        for symbol, doubt in poll.taken.quarantines.items():
            told = self._state.events(poll.timeframe, symbol, doubt.ts)
            if any(event.kind is EventKind.QUARANTINED and event.ts == doubt.ts for event in told):
                continue
            labels = pl.Series([doubt.ts], dtype=INSTANT)
            [closed_at] = self._sessions(watched.markets[symbol]).closed_at(labels, watched.timeframe)
            at = Bar(symbol, doubt.ts, closed_at)
            decided.append(self._notice(EventKind.QUARANTINED, watched, at, {"because": doubt.why}))
        if decided:
            self._commit(poll.now, watched, Memory(), decided)
            _count(cycle, decided)

    def _notice(self, kind: EventKind, watched: Watched, at: Bar, evidence: Mapping[str, Value]) -> Decided:
        event = notice(kind, watched, at, evidence)
        return event, kind.value, self._due_at(event, watched), to_all(watched, event)

    def _commit(self, now: datetime, watched: Watched, memory: Memory, decided: list[Decided]) -> None:
        symbols = {event.symbol for event, *_ in decided}
        self._state.commit(
            Commit(
                timeframe=watched.timeframe.name,
                method=digest(vars(watched.method)),
                memory=memory,
                decided=decided,
                origins=self._quality.origins(watched.timeframe.name, symbols),
                config_digest=watched.config_digest,
                now=now,
            )
        )

    def _due_at(self, event: Event, watched: Watched) -> datetime:
        origin = self._bars.origin(event.timeframe, event.symbol) or ""
        return (
            event.closed_at
            + watched.grace
            + self._sources.lag(watched.markets[event.symbol], watched.timeframe, origin)
        )

    def _due(
        self, watched: Watched, symbols: list[str], waiting: Mapping[str, datetime], memory: Memory
    ) -> tuple[dict[str, datetime | None], dict[str, int | None]]:
        """The symbols that have something to evaluate, with their cursors, and how many bars up to them it takes."""
        cursors = dict(memory.cursors.iter_rows())
        armed = set(memory.checks.select("check", "symbol").iter_rows())
        with_machine = set(memory.trends["symbol"])
        due: dict[str, datetime | None] = {}
        depths: dict[str, int | None] = {}
        for symbol, newest in self._bars.newest_labels(watched.timeframe.name, symbols, waiting).items():
            cursor = cursors.get(symbol)
            fresh = any((check.digest, symbol) not in armed for check, of in watched.checks.items() if symbol in of)
            if cursor is None or newest > cursor or fresh:
                due[symbol] = cursor
                depths[symbol] = watched.plan.depth if symbol in with_machine else None
        return due, depths

    def _decide(self, events: list[Event], watched: Watched) -> list[Decided]:
        """A decision for each event and channel, in order of time, so that each knows those before it."""
        just_told: dict[tuple[str, str, str, bool], tuple[datetime, datetime]] = {}
        decided: list[Decided] = []
        for event in events:
            routes = watched.routes.get((event.check_digest, event.symbol), ())
            decisions = []
            for channel, merged in policy.merge(routes, event.timeframe).items():
                series = (event.check_digest, event.symbol, channel, event.kind is EventKind.EARLY_WARNING)
                told = just_told.get(series) or self._state.told(event, channel)
                decision = policy.decide(event, merged, self._told(event, told))
                if decision.tell:
                    just_told[series] = event.ts, event.closed_at
                decisions.append(decision)
            decided.append((event, watched.names[event.check_digest], self._due_at(event, watched), decisions))
        return decided

    def _told(self, event: Event, told: tuple[datetime, datetime] | None) -> Told | None:
        if told is None:
            return None
        ts, closed_at = told
        return Told(closed_at, self._bars.between(event.timeframe, event.symbol, ts, event.ts))


def _count(cycle: Cycle, decided: list[Decided]) -> None:
    decisions = [decision for *_, made in decided for decision in made]
    cycle.events += [event for event, *_ in decided]
    cycle.told += sum(decision.tell for decision in decisions)
    cycle.held += sum(not decision.tell for decision in decisions)
