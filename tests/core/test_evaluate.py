from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.checks import Check, Trigger
from monitor.core.classify import Method
from monitor.core.evaluate import BEFORE_ALL, Memory, Plan, evaluate
from monitor.core.events import EventKind
from monitor.core.expressions import parse_condition
from monitor.core.timeframe import parse_timeframe
from tests.core import plain
from tests.core.conftest import bar, frame

DAY = parse_timeframe("1d")
BARS = st.lists(bar(), min_size=4, max_size=40)


def check(when, **settings):
    return Check(Method(), parse_condition(when), **settings)


def events_of(bars, checks, *, armed_from=None, method=Method()):
    plan = Plan.of({one: bars["symbol"].unique() for one in checks}, method)
    return evaluate(bars, plan, DAY, Memory(), armed_from or bars["ts"].min()).events


def carried(memory, news):
    """Memory after a cycle: the rows that changed in the place of the old ones."""
    both = {}
    for name, keys in {"cursors": ["symbol"], "trends": ["symbol"], "checks": ["check", "symbol"]}.items():
        old, new = getattr(memory, name), getattr(news, name)
        both[name] = pl.concat([old.join(new, on=keys, how="anti"), new.select(old.columns)])
    return Memory(**both)


def fed(bars, checks, cuts):
    """The keys found when the bars come in the batches that `cuts` make, the first of which arms the checks."""
    plan = Plan.of({one: bars["symbol"].unique() for one in checks}, Method())
    memory, keys = Memory(), []
    for cut in cuts:
        known = bars.filter(pl.col("ts") <= cut)
        armed_from = None if memory.cursors.height else bars["ts"].min()
        found = evaluate(known, plan, DAY, memory, armed_from)
        keys += [event.key for event in found.events]
        memory = carried(memory, found.memory)
    return keys


CHECKS = [
    Check(Method(), early_warning=True),
    check("close > sma(close, 3)"),
    check("close > prev(close, 1)", trigger=Trigger.FALLING, confirm=2, rearm=3),
    check('trend == "bullish" and bar != "fake"', trigger=Trigger.CHANGE),
    check("bars_since(close > 5) < 2", trigger=Trigger.LEVEL, confirm=2),
]


@settings(max_examples=40, deadline=None)
@given(BARS, st.data())
def test_any_batches_give_the_events_of_all_at_once(bars, data):
    bars = frame("X", bars)
    days = bars["ts"].to_list()
    chosen = data.draw(st.lists(st.sampled_from(days), unique=True))
    cuts = sorted({*chosen, days[-1]})
    whole = [event.key for event in events_of(bars, CHECKS)]
    assert sorted(fed(bars, CHECKS, cuts)) == sorted(whole)


@settings(max_examples=40, deadline=None)
@given(BARS, st.data())
def test_evaluating_a_prefix_equals_cutting_the_whole(bars, data):
    bars = frame("X", bars)
    cut = data.draw(st.sampled_from(bars["ts"].to_list()))
    prefix = events_of(bars.filter(pl.col("ts") <= cut), CHECKS)
    assert prefix == [event for event in events_of(bars, CHECKS) if event.ts <= cut]


@settings(max_examples=60, deadline=None)
@given(
    BARS,
    st.builds(dict, trigger=st.sampled_from(list(Trigger)), confirm=st.integers(1, 4), rearm=st.integers(1, 4)),
    st.integers(0, 3),
)
def test_a_check_fires_where_a_plain_reading_of_its_rules_does(bars, debounce, armed_at):
    if debounce["trigger"] in (Trigger.CHANGE, Trigger.LEVEL):
        debounce["rearm"] = 1
    closes = [one[3] for one in bars]
    volumes = [one[4] for one in bars]
    values = [None if volume == 0 else close / volume > 1.5 for close, volume in zip(closes, volumes, strict=True)]
    expected = plain.fires(values, armed_at, **debounce)
    bars = frame("X", bars)
    days = bars["ts"].to_list()
    found = events_of(bars, [check("close / volume > 1.5", **debounce)], armed_from=days[armed_at])
    assert [days.index(event.ts) for event in found] == expected


def test_real_history_bar_by_bar_gives_the_events_of_all_at_once(real_bars):
    first = real_bars["ts"].min()
    bars = real_bars.filter(pl.col("ts") < first + timedelta(days=500), pl.col("symbol").is_in(["AAPL", "IBM"]))
    checks = [CHECKS[0], check("rsi(close, 14) < 35"), check("crossover(ema(close, 12), ema(close, 26))")]
    days = bars["ts"].unique().sort().to_list()
    whole = [event.key for event in events_of(bars, checks)]
    assert len(whole) > 100
    assert sorted(fed(bars, checks, days[::7] + days[-1:])) == sorted(whole)


def test_trend_events_of_real_bars_equal_a_plain_reading_of_the_rules(real_bars):
    ibm = real_bars.filter(pl.col("symbol") == "IBM")
    states = plain.trends(plain.classes(ibm.select("open", "high", "low", "close", "volume").rows()))
    turned = [i for i in range(1, len(states)) if states[i] != states[i - 1]]
    expected = [(ibm["ts"][i], "trend_reversed" if states[i - 1] else "trend_started") for i in turned]
    assert [(event.ts, event.kind) for event in events_of(ibm, [Check(Method())])] == expected


def test_a_new_check_is_armed_at_the_newest_bar_and_stays_quiet_about_the_past():
    bars = frame("X", [(1, 1, 1, 1, 1), (2, 2, 2, 2, 1), (1, 1, 1, 1, 1), (2, 2, 2, 2, 1)])
    plan = Plan.of({check("close > 1.5"): ["X"]}, Method())
    found = evaluate(bars, plan, DAY, Memory())
    assert found.events == []
    assert found.memory.checks["armed_from"].to_list() == [bars["ts"][-1]]


def test_a_check_that_is_true_when_armed_must_first_become_false():
    closes = [2.0, 2.0, 1.0, 2.0]
    bars = frame("X", [(c, c, c, c, 1) for c in closes])
    found = events_of(bars, [check("close > 1.5")])
    assert [event.ts for event in found] == [bars["ts"][3]]


def test_unknown_neither_fires_nor_rearms():
    volumes = [1, 9, 0, 9, 1, 9]
    bars = frame("X", [(5, 5, 5, 5, volume) for volume in volumes])
    found = events_of(bars, [check("close / volume < 1")])
    assert [event.ts for event in found] == [bars["ts"][1], bars["ts"][5]]


def test_an_event_carries_the_bar_and_the_value_of_each_part_of_its_condition():
    bars = frame("X", [(1, 1, 1, 1, 3), (2, 4, 2, 3, 8)])
    [event] = events_of(bars, [check("close > 2 * prev(close, 1) and volume > 5")])
    assert event.kind is EventKind.BECAME_TRUE
    assert event.bar == {
        "open": 2, "high": 4, "low": 2, "close": 3, "volume": 8, "bar": "real_bull", "trend": "neutral",
    }  # fmt: skip
    assert event.evidence["prev(close, 1)"] == 1
    assert event.evidence["volume > 5"] is True


def test_an_event_with_too_little_history_behind_it_says_unsettled():
    closes = [1.0] * 15 + [2.0]
    [event] = events_of(frame("X", [(c, c, c, c, 1) for c in closes]), [check("close > ema(close, 5)")])
    assert event.evidence["unsettled"] is True
    closes = [1.0] * 200 + [2.0]
    [event] = events_of(frame("X", [(c, c, c, c, 1) for c in closes]), [check("close > ema(close, 5)")])
    assert "unsettled" not in event.evidence


def test_an_early_warning_is_told_only_where_it_is_asked_for():
    closes = [1.0, 2.0, 3.0, 2.0]
    bars = frame("X", [(c, c, c, c, 1) for c in closes])
    kinds = [event.kind for event in events_of(bars, [Check(Method(), early_warning=True)])]
    assert kinds == [EventKind.TREND_STARTED, EventKind.EARLY_WARNING]
    assert [event.kind for event in events_of(bars, [Check(Method())])] == [EventKind.TREND_STARTED]


def test_a_symbol_without_bars_is_no_obstacle():
    plan = Plan.of({check("close > 1.5"): ["X", "GONE"]}, Method())
    found = evaluate(frame("X", [(1, 1, 1, 1, 1)]), plan, DAY, Memory())
    assert found.memory.cursors["symbol"].to_list() == ["X"]


def test_no_bars_give_no_events_and_no_memory():
    found = evaluate(frame("X", []), Plan.of({CHECKS[1]: ["X"]}, Method()), DAY, Memory(), BEFORE_ALL)
    assert found.events == []
    assert found.memory.cursors.is_empty()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (check("close > 2"), check("(close)>2.0")),
        (check("rsi(close) < 30"), check("rsi(close, 14) < 30")),
        (check("close > 2"), Check(Method(confirmation=3), parse_condition("close > 2"))),
    ],
)
def test_checks_of_equal_meaning_have_one_digest(one, other):
    assert one.digest == other.digest


@pytest.mark.parametrize(
    "other",
    [
        check("close > 3"),
        check("close > 2", trigger=Trigger.LEVEL),
        check("close > 2", confirm=2),
        check("close > 2", rearm=2),
        Check(Method()),
    ],
)
def test_checks_of_different_meaning_have_different_digests(other):
    assert check("close > 2").digest != other.digest


def test_the_method_is_part_of_the_meaning_of_what_reads_the_trend():
    condition = parse_condition('trend == "bullish"')
    assert Check(Method(), condition).digest != Check(Method(confirmation=3), condition).digest
