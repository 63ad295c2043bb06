"""Evaluation: closed bars in, events out, for all symbols of one timeframe at once.

*Memory* is what must be known of the bars already processed: with it, one bar at a time, any batches, or all at once
give the same events. A *pair* is one check with one symbol it watches.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from monitor.core import classify, confirm, trend
from monitor.core.bars import INSTANT, PRICES
from monitor.core.checks import Check, Trigger
from monitor.core.classify import Method
from monitor.core.events import Event, EventKind, Value
from monitor.core.expressions import Program
from monitor.core.timeframe import Timeframe

TREND_RULE = "trend"
BEFORE_ALL = datetime(1, 1, 1, tzinfo=UTC)
MACHINE = {"state": pl.Int8(), "kind": pl.Int8(), "run": pl.Int32()}
CURSORS = pl.Schema({"symbol": pl.String(), "cursor": INSTANT})
TRENDS = pl.Schema({"symbol": pl.String(), **MACHINE})
CHECK_STATES = pl.Schema({"check": pl.String(), "symbol": pl.String(), "armed_from": INSTANT, **MACHINE})


_VALUES = pl.Schema({"row": pl.UInt32(), "symbol": pl.String(), "ts": INSTANT, "index": pl.Int32(), "sign": pl.Int8()})
_NEEDS = pl.Schema(
    {
        "index": pl.Int32(),
        "check": pl.String(),
        "trigger": pl.String(),
        "early_warning": pl.Boolean(),
        "rise": pl.Int32(),
        "fall": pl.Int32(),
    }
)


@dataclass(frozen=True)
class Memory:
    """What is known after the newest processed bar of each symbol, at one timeframe.

    Shape: `cursors` has CURSORS, `trends` TRENDS, `checks` CHECK_STATES. A symbol without a trend machine must be given
    its whole history.
    """

    cursors: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CURSORS))
    trends: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TRENDS))
    checks: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CHECK_STATES))


@dataclass(frozen=True)
class Plan:
    """Checks and the symbols each watches, prepared to be evaluated again and again.

    `pairs` has a row for each check and symbol: what its machine needs. `depth` is how many bars up to a symbol's
    cursor the evaluation of the cursor's bar and of those after it depends on; None for all of them.
    """

    checks: tuple[Check, ...]
    method: Method
    program: Program
    pairs: pl.DataFrame
    depth: int | None

    @classmethod
    def of(cls, watches: Mapping[Check, Collection[str]], method: Method) -> "Plan":
        settles = [check.settle for check in watches]
        rows = [(index, symbol) for index, symbols in enumerate(watches.values()) for symbol in sorted(symbols)]
        needs = [
            (
                index,
                check.digest,
                check.trigger if check.condition else TREND_RULE,
                check.early_warning,
                check.rearm if check.trigger is Trigger.FALLING else check.confirm,
                check.rearm if check.trigger is Trigger.RISING else check.confirm,
            )
            for index, check in enumerate(watches)
        ]
        pairs = pl.DataFrame(rows, {"index": pl.Int32(), "symbol": pl.String()}, orient="row")
        return cls(
            checks=tuple(watches),
            method=method,
            program=Program.of(check.condition for check in watches if check.condition),
            pairs=pairs.join(pl.DataFrame(needs, _NEEDS, orient="row"), on="index", maintain_order="left"),
            depth=None if None in settles else 1 + max([method.bars_before, *(settle or 0 for settle in settles)]),
        )


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    `events` are in order of time. `memory` has the rows that changed. `bars` is the frame with `bar`, `trend` and a
    column for each sub-expression of the plan; `trend` is null before the bars that were evaluated.
    """

    events: list[Event]
    memory: Memory
    bars: pl.DataFrame


def evaluate(
    bars: pl.DataFrame, plan: Plan, timeframe: Timeframe, memory: Memory, armed_from: datetime | None = None
) -> Evaluation:
    """The events of every bar after its symbol's cursor, for each check and the symbols it watches.

    A check that memory does not know is armed at `armed_from`, or at its symbol's newest bar.
    Shape: `bars` has BAR_SCHEMA, sorted, one timeframe; up to each symbol's cursor it has as many bars as the plan's
    `depth` asks for.
    """
    frame = _now(plan.program.apply(_framed(bars, plan, memory)))
    recent = frame.filter(pl.col("new") | pl.col("newest"))
    values = _now(_values(recent, plan))
    pairs = _now(_pairs(recent, plan, memory.checks, values, armed_from))
    decided = _now(confirm.run(_firing(values, pairs), "pair", "break"))
    fired = pl.concat([_triggered(decided), _now(_turned(recent, pairs))])
    events = [
        _event(row, plan.checks[row["index"]], timeframe, plan.program)
        for row in fired.join(recent, on="row").iter_rows(named=True)
    ]
    newest = recent.filter("newest")
    remembered = Memory(
        cursors=newest.filter("new").select("symbol", cursor="ts"),
        trends=newest.drop_nulls("state").select(*TRENDS),
        checks=_remembered(pairs, decided),
    )
    events.sort(key=lambda event: (event.ts, event.symbol, event.check_digest, event.kind))
    return Evaluation(events, remembered, frame)


def _now(query: pl.LazyFrame) -> pl.DataFrame:
    """The rows of a query, in their order; for the few rows of most cycles, planning would cost more than it saves."""
    return query.collect(engine="in-memory", optimizations=pl.QueryOptFlags.none())


def _framed(bars: pl.DataFrame, plan: Plan, memory: Memory) -> pl.LazyFrame:
    """The bars with their class and trend, which of them are new, and how many stand before each."""
    first = (pl.col("symbol") != pl.col("symbol").shift(1)).fill_null(value=True)
    newest = (pl.col("symbol") != pl.col("symbol").shift(-1)).fill_null(value=True)
    frame = (
        bars.lazy().with_row_index("row").join(memory.cursors.lazy(), on="symbol", how="left", maintain_order="left")
    )
    frame = frame.with_columns(
        (pl.col("ts") > pl.col("cursor")).fill_null(value=True).alias("new"),
        newest.alias("newest"),
        (pl.col("row") - pl.when(first).then(pl.col("row")).forward_fill()).alias("earlier"),
        classify.sign(plan.method).alias("sign"),
    )
    machines = memory.trends.clear() if plan.depth is None else memory.trends
    unknown = ~pl.col("symbol").is_in(machines["symbol"].to_list())
    signs = frame.filter(pl.col("new") | unknown).select("row", "symbol", "sign")
    moved = trend.run(signs, plan.method, machines.lazy()).drop("symbol", "sign")
    at_cursor = (
        frame.filter(pl.col("ts") == pl.col("cursor"), ~unknown)
        .select("row", "symbol")
        .join(machines.lazy(), on="symbol", maintain_order="left")
        .select("row", *MACHINE, state_before=pl.lit(None, pl.Int8))
    )
    moved = pl.concat([moved.select("row", *MACHINE, "state_before"), at_cursor])
    return frame.join(moved, on="row", how="left", maintain_order="left").with_columns(
        classify.named(pl.col("sign")).alias("bar"), trend.named(pl.col("state")).alias("trend")
    )


def _values(recent: pl.DataFrame, plan: Plan) -> pl.LazyFrame:
    """The sign of each condition at each recent bar: +1 true, −1 false, 0 unknown."""
    columns = [
        recent.lazy().select(
            "row",
            "symbol",
            "ts",
            index=pl.lit(index, pl.Int32),
            sign=(pl.col(plan.program.column(check.condition)).cast(pl.Int8) * 2 - 1).fill_null(0),
        )
        for index, check in enumerate(plan.checks)
        if check.condition
    ]
    return pl.concat([pl.LazyFrame(schema=_VALUES), *columns])


def _pairs(
    recent: pl.DataFrame, plan: Plan, states: pl.DataFrame, values: pl.DataFrame, armed_from: datetime | None
) -> pl.LazyFrame:
    """Each pair that has bars, with its machine before the first bar that can fire it: the one that follows `after`."""
    arming = pl.lit(armed_from, INSTANT).fill_null(pl.col("ts"))
    newest = recent.lazy().filter("newest").select("symbol", "cursor", arming.alias("arming"))
    at_arming = values.lazy().select("index", "symbol", arming="ts", sign0="sign")
    fresh = pl.col("armed_from").is_null()
    return (
        plan.pairs.lazy()
        .join(newest, on="symbol", maintain_order="left")
        .join(states.lazy(), on=["check", "symbol"], how="left", maintain_order="left")
        .join(at_arming, on=["index", "symbol", "arming"], how="left", maintain_order="left")
        .with_columns(pl.col("sign0").fill_null(0))
        .with_columns(
            after=pl.when(fresh).then("arming").otherwise("cursor"),
            armed_from=pl.col("armed_from").fill_null(pl.col("arming")),
            state0=pl.when(fresh).then("sign0").otherwise("state"),
            kind0=pl.when(fresh).then("sign0").otherwise("kind"),
            run0=pl.when(fresh).then(pl.col("sign0").abs().cast(pl.Int32)).otherwise("run"),
        )
        .drop("state", "kind", "run", "sign0", "cursor", "arming")
        .with_row_index("pair")
    )


def _firing(values: pl.DataFrame, pairs: pl.DataFrame) -> pl.LazyFrame:
    """The values that can fire their pair, in order of pairs."""
    both = values.lazy().join(pairs.lazy(), on=["index", "symbol"], maintain_order="left")
    return both.filter(pl.col("ts") > pl.col("after"))


def _triggered(decided: pl.DataFrame) -> pl.DataFrame:
    """The bars at which a condition did what its check waits for."""
    rose = (pl.col("state") == 1) & (pl.col("state_before") == -1)
    fell = (pl.col("state") == -1) & (pl.col("state_before") == 1)
    holds = (pl.col("kind") == 1) & (pl.col("run") >= pl.col("rise"))
    trigger = pl.col("trigger")
    kind = (
        pl.when(trigger.is_in([Trigger.RISING, Trigger.CHANGE]) & rose)
        .then(pl.lit(EventKind.BECAME_TRUE))
        .when(trigger.is_in([Trigger.FALLING, Trigger.CHANGE]) & fell)
        .then(pl.lit(EventKind.BECAME_FALSE))
        .when((trigger == Trigger.LEVEL) & holds)
        .then(pl.lit(EventKind.HOLDS))
    )
    return decided.select("index", "row", kind.alias("event")).drop_nulls("event")


def _turned(recent: pl.DataFrame, pairs: pl.DataFrame) -> pl.LazyFrame:
    """The bars at which the trend did something, for the checks of the trend rule."""
    moved = (pl.col("state") != pl.col("state_before")).fill_null(value=False)
    kind = (
        pl.when(moved & (pl.col("state_before") == 0))
        .then(pl.lit(EventKind.TREND_STARTED))
        .when(moved)
        .then(pl.lit(EventKind.TREND_REVERSED))
        .when(trend.is_early_warning())
        .then(pl.lit(EventKind.EARLY_WARNING))
    )
    turns = recent.lazy().select("row", "symbol", "ts", kind.alias("event")).drop_nulls("event")
    asked = pl.col("early_warning") | (pl.col("event") != EventKind.EARLY_WARNING)
    return (
        turns.join(pairs.lazy().filter(pl.col("trigger") == TREND_RULE), on="symbol")
        .filter((pl.col("ts") > pl.col("after")) & asked)
        .select("index", "row", "event")
    )


def _remembered(pairs: pl.DataFrame, decided: pl.DataFrame) -> pl.DataFrame:
    """Each pair's machine after its newest bar."""
    last = decided.lazy().group_by("pair").last().select("pair", "state", "kind", "run")
    remembered = (
        pairs.lazy()
        .join(last, on="pair", how="left")
        .select(
            "check",
            "symbol",
            "armed_from",
            *(pl.col(name).fill_null(pl.col(f"{name}0")) for name in MACHINE),
        )
    )
    return _now(remembered)


def _event(row: Mapping[str, Any], check: Check, timeframe: Timeframe, program: Program) -> Event:
    return Event(
        check_digest=check.digest,
        symbol=row["symbol"],
        timeframe=timeframe.name,
        ts=row["ts"],
        closed_at=row["closed_at"],
        kind=EventKind(row["event"]),
        bar={name: row[name] for name in (*PRICES, "volume", "bar", "trend")},
        evidence=evidence(row, check, program),
    )


def evidence(row: Mapping[str, Any], check: Check, program: Program) -> dict[str, Value]:
    """What a check saw at one bar: the value of each part of its condition, or how the trend moved.

    `unsettled` is there, and true, where less history stood before the bar than the condition's memory asks for.
    """
    if check.condition is None:
        before = trend.STATES[row["state_before"]]
        return {"previous": before, "state": trend.STATES[row["state"]], "run": row["run"]}
    values: dict[str, Value] = {text: row[column] for text, column in program.parts(check.condition).items()}
    settle = check.condition.settle
    return values | ({"unsettled": True} if settle is not None and row["earlier"] < settle else {})
