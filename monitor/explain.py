"""Explain: why a check fired at a bar, or why it did not, from stored bars and what was decided at the time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from monitor.config.snapshot import Watched
from monitor.core.checks import Check, Trigger
from monitor.core.confirm import Confirmed
from monitor.core.evaluate import BEFORE_ALL, Memory, Plan, evaluate, evidence
from monitor.core.events import Value
from monitor.errors import InputError
from monitor.stores.history import History


@dataclass(frozen=True)
class CheckExplained:
    """One check at one bar.

    `verdict` is one sentence. `values` has each part of the condition at the bar and at the bar before.
    """

    check: str
    condition: str
    verdict: str
    armed_from: datetime | None
    values: dict[str, tuple[Value, Value]]
    lookback: int
    settled: bool
    deliveries: list[dict[str, Any]]


@dataclass(frozen=True)
class BarExplained:
    """One bar: its class and trend in words, and each check that watches it."""

    symbol: str
    timeframe: str
    bar: dict[str, Any]
    class_reason: str
    trend_reason: str
    checks: list[CheckExplained]
    config_digest: str


def explain(bars: pl.DataFrame, watched: Watched, checks: Sequence[Check], history: History) -> BarExplained:
    """The newest of these bars, explained.

    Shape: one symbol's BAR_SCHEMA frame with all its history up to the bar in question.
    Raises: InputError without bars.
    """
    if bars.is_empty():
        raise InputError("there are no bars to explain", "run `barwatch once` first, or choose a later --at")
    symbol = bars["symbol"][0]
    explained = [_check(bars, watched, check, symbol, history) for check in checks]
    whole = evaluate(bars, Plan.of({}, watched.method), watched.timeframe, Memory(), BEFORE_ALL).bars
    now = whole.row(-1, named=True)
    before = whole.row(-2, named=True) if whole.height > 1 else None
    return BarExplained(
        symbol=symbol,
        timeframe=watched.timeframe.name,
        bar={name: now[name] for name in (*bars.columns, "bar", "trend")},
        class_reason=_class_reason(now, before, body=watched.method.range == "body"),
        trend_reason=_trend_reason(whole, watched.method.confirmation),
        checks=explained,
        config_digest=watched.config_digest,
    )


def _check(bars: pl.DataFrame, watched: Watched, check: Check, symbol: str, history: History) -> CheckExplained:
    armed = history.armed_from(check.digest, symbol, watched.timeframe.name)
    plan = Plan.of({check: [symbol]}, watched.method)
    found = evaluate(bars, plan, watched.timeframe, Memory(), armed or BEFORE_ALL)
    now, before = found.bars.row(-1, named=True), found.bars.row(-2, named=True) if bars.height > 1 else {}
    machine = Confirmed(*found.memory.checks.select("state", "kind", "run").row(0))
    recorded = _recorded(check, watched, symbol, now["ts"], history)
    if recorded:
        verdict = f"fired: {', '.join(event['kind'].replace('_', ' ') for event in recorded)}"
    elif armed and now["ts"] <= armed:
        verdict = f"cannot fire: it is armed from the bar of {armed:%Y-%m-%d %H:%M}, only later bars count"
    elif armed is None:
        verdict = "cannot fire: it is not armed yet, the next cycle arms it"
    elif any(event.ts == now["ts"] for event in found.events):
        verdict = "did not fire: by the bars as they are now it would have, but this bar came or changed afterwards"
    else:
        verdict = _verdict(check, now[plan.program.column(check.condition)] if check.condition else None, machine)
    values = evidence(now, check, plan.program)
    earlier = evidence(before, check, plan.program) if before else {}
    return CheckExplained(
        check=watched.names[check.digest],
        condition=check.condition.canonical if check.condition else "the trend rule",
        verdict=verdict,
        armed_from=armed,
        values={name: (value, earlier.get(name)) for name, value in values.items() if name != "unsettled"},
        lookback=check.condition.lookback if check.condition else 0,
        settled=check.settle is None or now["earlier"] >= check.settle,
        deliveries=[told for event in recorded for told in _deliveries(event, history)],
    )


def _recorded(check: Check, watched: Watched, symbol: str, ts: datetime, history: History) -> list[dict[str, Any]]:
    """The events of a check that were stored for a bar."""
    found = history.events(limit=100_000, check_digest=check.digest, symbol=symbol, timeframe=watched.timeframe.name)
    return [event for event in found if event["ts"] == ts]


def _deliveries(event: dict[str, Any], history: History) -> list[dict[str, Any]]:
    told = history.deliveries(event_key=event["key"])
    names = ("channel", "state", "reason", "detail", "attempts", "updated_at", "batch_id")
    return [{name: delivery[name] for name in names} for delivery in told]


def _verdict(check: Check, value: Value, machine: Confirmed) -> str:
    """Why a check that did not fire did not, from the value of its condition and its machine after the bar."""
    if check.condition is None:
        return "did not fire: the trend did not turn at this bar"
    if value is None:
        return "did not fire: the condition is unknown here (not enough bars before it, or a division by zero)"
    now = "true" if value else "false"
    if check.trigger is Trigger.LEVEL:
        return f"did not fire: it is {now}, held {machine.run if machine.kind > 0 else 0} of {check.confirm} bars"
    if check.trigger is Trigger.CHANGE:
        return f"did not fire: it is {now} and has not changed"
    wanted = 1 if check.trigger is Trigger.RISING else -1
    if machine.kind != wanted:
        return f"did not fire: it is {now}"
    if machine.state == wanted:
        other = "false" if value else "true"
        rest = f"since it last fired or was armed it has not been {other} for {check.rearm} bars"
        return f"did not fire: it is {now}; {rest}"
    return f"did not fire yet: it has been {now} for {machine.run} of {check.confirm} bars"


def _class_reason(now: dict[str, Any], before: dict[str, Any] | None, *, body: bool) -> str:
    if before is None:
        return "unclassified: the first bar has none before it"
    top, bottom = ("top of the body", "bottom of the body") if body else ("high", "low")
    high = max(before["open"], before["close"]) if body else before["high"]
    low = min(before["open"], before["close"]) if body else before["low"]
    close = now["close"]
    if close > high:
        reason = f"close {close:g} is above the previous {top} {high:g}"
    elif close < low:
        reason = f"close {close:g} is below the previous {bottom} {low:g}"
    else:
        reason = f"close {close:g} is within the previous {bottom} {low:g} and {top} {high:g}"
    return f"{now['bar']}: {reason}"


def _trend_reason(frame: pl.DataFrame, confirmation: int) -> str:
    now = frame.row(-1, named=True)
    turned = frame.filter(pl.col("state") != pl.col("state_before"))
    since = f" since the bar of {turned['ts'][-1]:%Y-%m-%d %H:%M}" if turned.height else ""
    kind = {1: "bull", -1: "bear", 0: "no"}[now["kind"]]
    return f"{now['trend']}{since}; run of real {kind} bars: {now['run']} (a turn takes {confirmation})"
