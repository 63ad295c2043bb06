"""The pipeline: a cycle takes up the bars that have closed, evaluates them and decides what to tell.

A cycle writes twice: first the bars into their own file, then memory, events and decisions in one transaction.
Evaluation starts from the stored bars after each symbol's cursor, so a cycle that was cut short anywhere is simply done
again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from monitor.config.snapshot import Watched
from monitor.core import policy
from monitor.core.adjust import rebase
from monitor.core.bars import BAR_SCHEMA, INSTANT, PRICES
from monitor.core.evaluate import BEFORE_ALL, Evaluation, Memory, Plan, evaluate
from monitor.core.events import Event, EventKind, digest
from monitor.core.policy import Decision, Told
from monitor.ports import Provider
from monitor.sessions import Sessions
from monitor.stores.bars import BarStore
from monitor.stores.state import Commit, StateStore

OVERLAP = 5
SAME_PRICE = 1e-9
_DIFFERS = pl.any_horizontal(
    (pl.col(price) - pl.col(f"{price}_now")).abs() > SAME_PRICE * pl.col(price) for price in PRICES
)


@dataclass
class Cycle:
    """What one cycle did: a receipt.

    `missing` says of each symbol that was not brought up to date why; `rewritten` has those whose stored history the
    provider has changed.
    """

    timeframe: str
    asked: int
    evaluated: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)
    bars: int = 0
    events: list[Event] = field(default_factory=list)
    told: int = 0
    held: int = 0

    def receipt(self) -> dict[str, Any]:
        """The numbers, and why each missing symbol is missing; JSON-ready."""
        return vars(self) | {"evaluated": len(self.evaluated), "events": len(self.events)}


class Pipeline:
    """Runs cycles against one provider and one pair of stores; one cycle at a time."""

    def __init__(
        self, provider: Provider, bars: BarStore, state: StateStore, sessions: Callable[[str], Sessions]
    ) -> None:
        self._provider = provider
        self._bars = bars
        self._state = state
        self._sessions = sessions

    def run_cycle(self, now: datetime, watched: Watched, symbols: Iterable[str]) -> Cycle:
        """Take up every bar of these symbols that has closed by `now` and was not processed yet.

        A symbol without bars, or whose bars are unsound, is named in the receipt and tried again by the next cycle.
        """
        asked = sorted(symbols)
        cycle = Cycle(watched.timeframe.name, len(asked))
        self._take_up(now, watched, asked, cycle)
        self._evaluate(now, watched, asked, cycle)
        newest = self._bars.newest_labels(cycle.timeframe, asked)
        cycle.missing = late(self._sessions, now, watched, asked, newest) | cycle.missing
        return cycle

    def _take_up(self, now: datetime, watched: Watched, symbols: list[str], cycle: Cycle) -> None:
        """Store the closed bars that the provider has and we have not."""
        timeframe = watched.timeframe
        overlap = self._bars.newest(timeframe.name, symbols, OVERLAP)
        ends = overlap.group_by("symbol").agg(pl.col("ts").first().alias("since"), pl.col("ts").last().alias("newest"))
        since: dict[str, datetime | None] = dict.fromkeys(symbols)
        since |= dict(ends.select("symbol", "since").iter_rows())
        bars = self._closed(now, watched, since, cycle)
        both = overlap.join(bars, on=["symbol", "ts"], suffix="_now")
        fresh = bars.join(overlap, on=["symbol", "ts"], how="anti").join(ends, on="symbol", how="left")
        behind = fresh.filter(pl.col("ts") < pl.col("newest"))
        rewritten = {*both.filter(_DIFFERS)["symbol"], *behind["symbol"]}
        apart = ({*bars["symbol"]} & {*overlap["symbol"]}) - {*both["symbol"]} - rewritten
        for symbol in sorted(apart):
            newest = ends.filter(pl.col("symbol") == symbol)["newest"][0]
            cycle.missing[symbol] = f"its bars begin after {newest:%Y-%m-%d %H:%M} UTC; bars in between are needed too"
        for symbol in sorted(rewritten):
            self._rewrite(now, watched, symbol, cycle)
        fresh = fresh.filter(~pl.col("symbol").is_in(list(rewritten | apart))).select(*BAR_SCHEMA)
        cycle.bars += fresh.height
        if fresh.height:
            self._bars.write(timeframe.name, fresh)

    def _rewrite(self, now: datetime, watched: Watched, symbol: str, cycle: Cycle) -> None:
        """Take up a symbol's history that the provider has changed, and tell nothing about its past.

        Bars older than the provider's stay where they can be brought to its scale. The machines are made again on
        the new history before the bars are stored: cut short in between, the difference is found once more.
        """
        timeframe = watched.timeframe
        stored = self._bars.newest(timeframe.name, [symbol], None)
        given = self._closed(now, watched, {symbol: None}, cycle)
        if given.is_empty() or given["ts"][-1] < stored["ts"][-1]:
            cycle.missing.setdefault(symbol, "its history has changed, and ends before the newest stored bar")
            return
        history = pl.concat([rebase(stored.filter(pl.col("ts") < given["ts"][0]), stored, given), given])
        cursor = self._state.cursors(timeframe.name).get(symbol)
        if cursor:
            again = self._machines(history.filter(pl.col("ts") <= cursor), watched, symbol)
            self._commit(now, watched, again, [])
        self._bars.replace(timeframe.name, symbol, history)
        cycle.rewritten.append(symbol)
        cycle.bars += history.height - stored.height

    def _machines(self, history: pl.DataFrame, watched: Watched, symbol: str) -> Memory:
        """The machines after a history: each check armed where it was."""
        name = watched.timeframe.name
        states = self._state.memory(name, digest(vars(watched.method)), [symbol]).checks
        checks = {check.digest: check for check in watched.checks}
        made = [evaluate(history, Plan.of({}, watched.method), watched.timeframe, Memory()).memory]
        for (armed_from,), armed in states.group_by("armed_from"):
            plan = Plan.of({checks[digest]: [symbol] for digest in armed["check"]}, watched.method)
            made.append(evaluate(history, plan, watched.timeframe, Memory(), armed_from).memory)
        return Memory(trends=made[0].trends, checks=pl.concat([memory.checks for memory in made]))

    def _closed(
        self, now: datetime, watched: Watched, since: Mapping[str, datetime | None], cycle: Cycle
    ) -> pl.DataFrame:
        bars, failures = closed_bars(self._provider, self._sessions, now, watched, since)
        cycle.missing |= failures
        return bars

    def _evaluate(self, now: datetime, watched: Watched, symbols: list[str], cycle: Cycle) -> None:
        """Evaluate the stored bars after each cursor, decide about the events, and commit all of it at once."""
        memory = self._state.memory(watched.timeframe.name, digest(vars(watched.method)), symbols)
        cursors, depths = self._due(watched, symbols, memory)
        if not cursors:
            return
        bars = self._bars.window(watched.timeframe.name, cursors, depths)
        evaluation = evaluate(bars, watched.plan, watched.timeframe, memory)
        decided = self._decide(evaluation, watched)
        self._commit(now, watched, evaluation.memory, decided)
        cycle.evaluated = sorted(cursors)
        cycle.events = evaluation.events
        cycle.told = sum(decision.tell for *_, decisions in decided for decision in decisions)
        cycle.held = sum(not decision.tell for *_, decisions in decided for decision in decisions)

    def _commit(
        self,
        now: datetime,
        watched: Watched,
        memory: Memory,
        decided: list[tuple[Event, str, datetime, list[Decision]]],
    ) -> None:
        self._state.commit(
            Commit(
                timeframe=watched.timeframe.name,
                method=digest(vars(watched.method)),
                memory=memory,
                decided=decided,
                provider=self._provider.name,
                config_digest=watched.config_digest,
                now=now,
            )
        )

    def _due(
        self, watched: Watched, symbols: list[str], memory: Memory
    ) -> tuple[dict[str, datetime | None], dict[str, int | None]]:
        """The symbols that have something to evaluate, with their cursors, and how many bars up to them it takes."""
        cursors = dict(memory.cursors.iter_rows())
        armed = set(memory.checks.select("check", "symbol").iter_rows())
        with_machine = set(memory.trends["symbol"])
        due: dict[str, datetime | None] = {}
        depths: dict[str, int | None] = {}
        for symbol, newest in self._bars.newest_labels(watched.timeframe.name, symbols).items():
            cursor = cursors.get(symbol)
            fresh = any((check.digest, symbol) not in armed for check, of in watched.checks.items() if symbol in of)
            if cursor is None or newest > cursor or fresh:
                due[symbol] = cursor
                depths[symbol] = watched.plan.depth if symbol in with_machine else None
        return due, depths

    def _decide(self, evaluation: Evaluation, watched: Watched) -> list[tuple[Event, str, datetime, list[Decision]]]:
        """A decision for each event and channel, in order of time, so that each knows those before it."""
        just_told: dict[tuple[str, str, str, bool], tuple[datetime, datetime]] = {}
        decided = []
        for event in evaluation.events:
            routes = watched.routes.get((event.check_digest, event.symbol), ())
            decisions = []
            for channel, merged in policy.merge(routes, event.timeframe).items():
                series = (event.check_digest, event.symbol, channel, event.kind is EventKind.EARLY_WARNING)
                told = just_told.get(series) or self._state.told(event, channel)
                decision = policy.decide(event, merged, self._told(event, told))
                if decision.tell:
                    just_told[series] = event.ts, event.closed_at
                decisions.append(decision)
            name = watched.names[event.check_digest]
            decided.append((event, name, event.closed_at + watched.grace, decisions))
        return decided

    def _told(self, event: Event, told: tuple[datetime, datetime] | None) -> Told | None:
        if told is None:
            return None
        ts, closed_at = told
        return Told(closed_at, self._bars.between(event.timeframe, event.symbol, ts, event.ts))


def closed_bars(
    provider: Provider,
    sessions: Callable[[str], Sessions],
    now: datetime,
    watched: Watched,
    since: Mapping[str, datetime | None],
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The provider's bars that had closed when it knew them, and for the grace time by now; and why a symbol has none.

    Shape: BAR_SCHEMA, sorted by symbol and ts.
    """
    fetched = provider.fetch(since, watched.timeframe, now)
    known = pl.DataFrame(
        [(symbol, watched.markets[symbol], min(now, as_of)) for symbol, as_of in fetched.as_of.items()],
        {"symbol": pl.String(), "market": pl.String(), "known": INSTANT},
        orient="row",
    )
    bars = fetched.bars.join(known, on="symbol", maintain_order="left")
    markets = sorted({watched.markets[symbol] for symbol in fetched.as_of})
    closing = []
    for market in markets:
        part = bars.filter(pl.col("market") == market) if len(markets) > 1 else bars
        part = part.with_columns(closed_at=sessions(market).closed_at(part["ts"], watched.timeframe))
        settled = (pl.col("closed_at") <= pl.col("known")) & (pl.col("closed_at") + watched.grace <= now)
        closing.append(part.filter(settled).select(*BAR_SCHEMA))
    failures = {symbol: failure.message for symbol, failure in fetched.failures.items()}
    if len(closing) == 1:
        return closing[0], failures
    return pl.concat([pl.DataFrame(schema=BAR_SCHEMA), *closing]).sort("symbol", "ts"), failures


def late(
    sessions: Callable[[str], Sessions],
    now: datetime,
    watched: Watched,
    symbols: Iterable[str],
    newest: Mapping[str, datetime],
) -> dict[str, str]:
    """The symbols whose newest bar should have been here by now, and which bar that is."""
    missing = {}
    for symbol in symbols:
        expected = sessions(watched.markets[symbol]).newest_closed(watched.timeframe, now - watched.grace)
        if expected and (symbol not in newest or newest[symbol] < expected[0]):
            have = f"; the newest is of {newest[symbol]:%Y-%m-%d %H:%M}" if symbol in newest else ""
            missing[symbol] = f"the bar of {expected[0]:%Y-%m-%d %H:%M} UTC has not come yet{have}"
    return missing


def look_at(
    provider: Provider, sessions: Callable[[str], Sessions], now: datetime, watched: Watched
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Each check at the newest closed bar of each symbol it watches, and whether it would fire there; keeps nothing."""
    bars, failures = closed_bars(provider, sessions, now, watched, dict.fromkeys(watched.markets))
    evaluation = evaluate(bars, watched.plan, watched.timeframe, Memory(), BEFORE_ALL)
    newest = evaluation.bars.filter("newest").partition_by("symbol", as_dict=True)
    fires = {(event.check_digest, event.symbol, event.ts) for event in evaluation.events}
    rows = []
    for check, symbols in watched.checks.items():
        for symbol in sorted(symbols):
            if (symbol,) not in newest:
                continue
            bar = newest[symbol,].row(0, named=True)
            value = bar[watched.plan.program.column(check.condition)] if check.condition else None
            rows.append(
                {
                    "symbol": symbol,
                    "timeframe": watched.timeframe.name,
                    "bar": bar["ts"],
                    "class": bar["bar"],
                    "trend": bar["trend"],
                    "digest": check.digest,
                    "check": watched.names[check.digest],
                    "now": value if check.condition else bar["trend"],
                    "fires": (check.digest, symbol, bar["ts"]) in fires,
                }
            )
    labels = {str(symbol): bar["ts"][0] for (symbol,), bar in newest.items()}
    return sorted(rows, key=lambda row: row["symbol"]), late(sessions, now, watched, labels, labels) | failures
