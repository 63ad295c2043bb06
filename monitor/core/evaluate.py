"""Evaluation: closed bars in, events out, for all symbols of one timeframe at once.

*Memory* is what must be known of the bars already processed: with it, one bar at a time, any batches, or all at once
give the same events. A *pair* is one check with one symbol it watches.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from monitor.core import classify, confirm, trend
from monitor.core.bars import INSTANT, PRICES
from monitor.core.checks import Check, Trigger
from monitor.core.classify import Method
from monitor.core.events import Event, EventKind, Value
from monitor.core.expressions import Program
from monitor.core.timeframe import Timeframe

MACHINE = {"state": pl.Int8(), "kind": pl.Int8(), "run": pl.Int32()}
CURSORS = pl.Schema({"symbol": pl.String(), "cursor": INSTANT})
TRENDS = pl.Schema({"symbol": pl.String(), **MACHINE})
CHECK_STATES = pl.Schema({"check": pl.String(), "symbol": pl.String(), "armed_from": INSTANT, **MACHINE})


_NO_VALUES = pl.DataFrame(
    schema={"row": pl.UInt32(), "symbol": pl.String(), "ts": INSTANT, "index": pl.Int32(), "sign": pl.Int8()}
)
_NO_PAIRS = pl.DataFrame(
    schema={
        "symbol": pl.String(),
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
class Evaluation:
    """What an evaluation found.

    `events` are in order of time. `memory` has the rows that changed. `bars` is the frame with `bar`, `trend` and a
    column for each sub-expression of `program`; `trend` is null before the bars that were evaluated.
    """

    events: list[Event]
    memory: Memory
    bars: pl.DataFrame
    program: Program


def evaluate(
    bars: pl.DataFrame,
    watches: Mapping[Check, Collection[str]],
    timeframe: Timeframe,
    memory: Memory,
    armed_from: datetime | None = None,
) -> Evaluation:
    """The events of every bar after its symbol's cursor, for each check and the symbols it watches.

    A check that memory does not know is armed at `armed_from`, or at its symbol's newest bar.
    Shape: `bars` has BAR_SCHEMA, sorted, one timeframe; before each symbol's first new bar it has as much history as
    the method and the checks' `settle` ask for.
    """
    checks = list(watches)
    frame = _framed(bars, checks, memory)
    program = Program.of(check.condition for check in checks if check.condition)
    frame = program.apply(frame)
    recent = frame.filter(pl.col("new") | pl.col("newest"))
    values = _values(recent, checks, program)
    pairs = _pairs(recent, watches, memory.checks, values, armed_from)
    decided = confirm.run(_after(values, pairs), "pair", "break")
    fired = pl.concat([_triggered(decided), _turned(recent, pairs)])
    remembered = Memory(
        cursors=recent.filter(pl.col("newest") & pl.col("new")).select("symbol", cursor="ts"),
        trends=recent.filter("newest").drop_nulls("state").select(*TRENDS),
        checks=_remembered(pairs, decided),
    )
    return Evaluation(_events(fired, recent, checks, timeframe, program), remembered, frame, program)


def _framed(bars: pl.DataFrame, checks: Sequence[Check], memory: Memory) -> pl.DataFrame:
    """The bars with their class and trend, which of them are new, and how many stand before each."""
    method = checks[0].method if checks else Method()
    first = (pl.col("symbol") != pl.col("symbol").shift(1)).fill_null(value=True)
    newest = (pl.col("symbol") != pl.col("symbol").shift(-1)).fill_null(value=True)
    frame = bars.with_row_index("row").join(memory.cursors, on="symbol", how="left", maintain_order="left")
    frame = frame.with_columns(
        (pl.col("ts") > pl.col("cursor")).fill_null(value=True).alias("new"),
        newest.alias("newest"),
        (pl.col("row") - pl.when(first).then(pl.col("row")).forward_fill()).alias("earlier"),
        classify.sign(method).alias("sign"),
    )
    anchored = any(check.settle is None for check in checks)
    machines = memory.trends.clear() if anchored else memory.trends
    unknown = ~pl.col("symbol").is_in(machines["symbol"].to_list())
    signs = frame.filter(pl.col("new") | unknown).select("row", "symbol", "sign")
    moved = trend.run(signs, method, machines).drop("symbol", "sign")
    return frame.join(moved, on="row", how="left", maintain_order="left").with_columns(
        classify.named(pl.col("sign")).alias("bar"), trend.named(pl.col("state")).alias("trend")
    )


def _values(recent: pl.DataFrame, checks: Sequence[Check], program: Program) -> pl.DataFrame:
    """The sign of each condition at each recent bar: +1 true, −1 false, 0 unknown."""
    columns = [
        recent.select(
            "row",
            "symbol",
            "ts",
            index=pl.lit(index, pl.Int32),
            sign=(pl.col(program.column(check.condition)).cast(pl.Int8) * 2 - 1).fill_null(0),
        )
        for index, check in enumerate(checks)
        if check.condition
    ]
    return pl.concat([_NO_VALUES, *columns])


def _pairs(
    recent: pl.DataFrame,
    watches: Mapping[Check, Collection[str]],
    states: pl.DataFrame,
    values: pl.DataFrame,
    armed_from: datetime | None,
) -> pl.DataFrame:
    """Each check with each symbol it watches that has bars, and its machine before the first bar that can fire it.

    `after` is the last bar that can no longer fire the pair.
    """
    watched = [
        pl.DataFrame({"symbol": sorted(symbols)}, {"symbol": pl.String}).with_columns(
            index=pl.lit(index, pl.Int32),
            check=pl.lit(check.digest),
            trigger=pl.lit(check.trigger if check.condition else "trend"),
            early_warning=pl.lit(check.early_warning),
            rise=pl.lit(check.rearm if check.trigger is Trigger.FALLING else check.confirm, pl.Int32),
            fall=pl.lit(check.rearm if check.trigger is Trigger.RISING else check.confirm, pl.Int32),
        )
        for index, (check, symbols) in enumerate(watches.items())
    ]
    arming = pl.lit(armed_from, INSTANT).fill_null(pl.col("ts"))
    newest = recent.filter("newest").select("symbol", "cursor", arming.alias("arming"))
    at_arming = values.select("index", "symbol", arming="ts", sign0="sign")
    fresh = pl.col("armed_from").is_null()
    return (
        pl.concat([_NO_PAIRS, *watched])
        .join(newest, on="symbol", maintain_order="left")
        .join(states, on=["check", "symbol"], how="left", maintain_order="left")
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


def _after(values: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The values that can fire their pair, in order of pairs."""
    return values.join(pairs, on=["index", "symbol"], maintain_order="left").filter(pl.col("ts") > pl.col("after"))


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


def _turned(recent: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
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
    turns = recent.select("row", "symbol", "ts", kind.alias("event")).drop_nulls("event")
    asked = pl.col("early_warning") | (pl.col("event") != EventKind.EARLY_WARNING)
    return (
        turns.join(pairs.filter(pl.col("trigger") == "trend"), on="symbol")
        .filter((pl.col("ts") > pl.col("after")) & asked)
        .select("index", "row", "event")
    )


def _remembered(pairs: pl.DataFrame, decided: pl.DataFrame) -> pl.DataFrame:
    """Each pair's machine after its newest bar."""
    last = decided.group_by("pair").last().select("pair", "state", "kind", "run")
    return pairs.join(last, on="pair", how="left").select(
        "check",
        "symbol",
        "armed_from",
        *(pl.col(name).fill_null(pl.col(f"{name}0")) for name in MACHINE),
    )


def _events(
    fired: pl.DataFrame, recent: pl.DataFrame, checks: Sequence[Check], timeframe: Timeframe, program: Program
) -> list[Event]:
    found = [
        _event(row, checks[row["index"]], timeframe, program)
        for row in fired.join(recent, on="row").iter_rows(named=True)
    ]
    return sorted(found, key=lambda event: (event.ts, event.symbol, event.check_digest, event.kind))


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
