"""Larger bars made of smaller ones. Expected values are worked out by hand, by a plain loop, or by pandas."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.bars import BAR_SCHEMA, INSTANT, RAW_SCHEMA
from monitor.core.resample import resample
from monitor.core.timeframe import TIMEFRAMES
from monitor.sessions import Sessions

NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)
GRID = pl.Schema({"label": INSTANT, "closed_at": INSTANT})


def minutes(symbol: str, length: int, bars: dict[int, tuple[float | None, ...]]) -> pl.DataFrame:
    """Bars of so many minutes, from minutes after nine → (open, high, low, close, volume)."""
    starts = [NINE + timedelta(minutes=start) for start in bars]
    rows = [
        (symbol, start, start + timedelta(minutes=length), *bar)
        for start, bar in zip(starts, bars.values(), strict=True)
    ]
    return pl.DataFrame(rows, BAR_SCHEMA, orient="row")


def grid(*bars: tuple[int, int]) -> pl.DataFrame:
    """A grid from minutes after nine: label and close."""
    return pl.DataFrame([tuple(NINE + timedelta(minutes=at) for at in bar) for bar in bars], GRID, orient="row")


def told(bars: pl.DataFrame) -> list[tuple[object, ...]]:
    """Rows with the label as minutes after nine."""
    since = (pl.col("ts") - NINE).dt.total_minutes()
    return bars.with_columns(since.alias("ts")).rows()


def test_a_bar_opens_with_its_first_part_and_closes_with_its_last():
    parts = {0: (5, 6, 4, 5, 10), 15: (5, 9, 5, 8, 20), 30: (8, 8, 2, 3, 30), 45: (3, 4, 3, 4, 40)}
    assert told(resample(minutes("A", 15, parts), grid((0, 60)))) == [("A", 0, 5, 9, 2, 4, 100)]


def test_a_part_belongs_to_the_newest_label_not_after_its_own():
    parts = {at: (at + 1, at + 1, at + 1, at + 1, 1) for at in (0, 29, 30, 31, 59)}
    made = told(resample(minutes("A", 1, parts), grid((0, 30), (30, 60))))
    assert made == [("A", 0, 1, 30, 1, 30, 2), ("A", 30, 31, 60, 31, 60, 3)]


@pytest.mark.parametrize(
    ("at", "kept"),
    [(-1, False), (0, True), (44, True), (45, False), (50, False), (60, True)],
    ids=["before the open", "first", "last", "over the close", "after the close", "next day"],
)
def test_a_part_off_the_session_is_left_out(at, kept):
    made = resample(minutes("A", 1, {at: (1, 1, 1, 1, 1)}), grid((0, 45), (60, 90)))
    assert made.is_empty() != kept


def test_a_part_that_closes_after_its_bar_is_left_out():
    made = resample(minutes("A", 15, {0: (1, 2, 1, 2, 5), 15: (7, 9, 7, 8, 5)}), grid((0, 29)))
    assert told(made) == [("A", 0, 1, 2, 1, 2, 5)]


@pytest.mark.parametrize(("volumes", "total"), [((1, 2), 3), ((None, 2), 2), ((None, None), None), ((0, None), 0)])
def test_the_volume_is_null_only_where_every_part_has_none(volumes, total):
    parts = {at: (1, 1, 1, 1, volume) for at, volume in zip((0, 30), volumes, strict=True)}
    assert resample(minutes("A", 30, parts), grid((0, 60)))["volume"].to_list() == [total]


def test_labels_without_a_part_make_no_bar():
    made = resample(minutes("A", 30, {60: (1, 1, 1, 1, 1)}), grid((0, 60), (60, 120), (120, 180)))
    assert [label for _, label, *_ in told(made)] == [60]


def test_symbols_are_kept_apart_and_in_order():
    parts = {0: (1, 1, 1, 1, 1), 30: (2, 2, 2, 2, 1)}
    both = pl.concat([minutes("A", 30, parts), minutes("B", 30, {30: (7, 7, 7, 7, 1), 60: (8, 8, 8, 8, 1)})])
    made = resample(both, grid((0, 60), (60, 120)))
    assert [(symbol, label, close) for symbol, label, _, _, _, close, _ in told(made)] == [
        ("A", 0, 2), ("B", 0, 7), ("B", 60, 8),
    ]  # fmt: skip


def test_nothing_makes_nothing():
    bars, labels = minutes("A", 30, {0: (1, 1, 1, 1, 1)}), grid((0, 60))
    for made in (resample(bars.clear(), labels), resample(bars, labels.clear()), resample(bars, labels)):
        assert made.schema == RAW_SCHEMA
    assert resample(bars.clear(), labels).is_empty()
    assert resample(bars, labels.clear()).is_empty()


def flat(label: datetime, closed_at: datetime, n: int) -> tuple[object, ...]:
    return ("A", label, closed_at, float(n), n + 0.5, n - 0.5, float(n), 1.0)


@pytest.mark.parametrize(
    ("market", "day", "parts", "timeframe", "made"),
    [
        ("XBOM", "2025-11-12", "15m", "30m", {"03:45": 2, "04:15": 2, "09:15": 2, "09:45": 1}),  # 09:15 in Mumbai
        ("XNYS", "2025-07-01", "30m", "2h", {"13:30": 4, "15:30": 4, "17:30": 4, "19:30": 1}),
        ("XNYS", "2025-07-01", "1h", "4h", {"13:30": 4, "17:30": 3}),  # 09:30 to 13:30 to 16:00 in New York
        ("XNYS", "2025-11-28", "1h", "4h", {"14:30": 4}),  # a half-day
        ("XNYS", "2025-11-28", "5m", "1h", {"14:30": 12, "15:30": 12, "16:30": 12, "17:30": 6}),
        ("XHKG", "2024-01-17", "5m", "1h", {"03:30": 6, "04:30": 6, "05:30": 12, "07:30": 6}),  # the lunch break
        ("24/7", "2025-11-29", "1h", "4h", {"00:00": 4, "20:00": 4}),
        ("FX", "2025-07-09", "1h", "4h", {"01:00": 4, "17:00": 4, "21:00": 3}),
    ],
)
def test_larger_bars_are_anchored_at_the_session(market, day, parts, timeframe, made):
    first = datetime.fromisoformat(day).replace(tzinfo=UTC)
    last = first + timedelta(hours=23, minutes=59)
    sessions = Sessions(market, first.date() - timedelta(days=7), first.date() + timedelta(days=7))
    small = sessions.grid(TIMEFRAMES[parts], first, last)
    bars = pl.DataFrame([flat(*bar, n) for n, bar in enumerate(small.rows(), 1)], BAR_SCHEMA, orient="row")
    larger = resample(bars, sessions.grid(TIMEFRAMES[timeframe], first, last))
    counts = dict(zip(larger["ts"].dt.strftime("%H:%M"), larger["volume"], strict=True))
    assert {label: counts[label] for label in made} == made
    assert larger["volume"].sum() == small.filter(pl.col("label") >= larger["ts"][0]).height


@pytest.mark.parametrize(("timeframe", "rule"), [("1wk", "W-SUN"), ("1mo", "ME")])
def test_weeks_and_months_of_days_are_those_of_pandas(real_bars, timeframe, rule):
    sessions = Sessions("XNYS", date(2000, 1, 1), date(2013, 12, 31))
    bars = real_bars.with_columns(sessions.closed_at(real_bars["ts"], TIMEFRAMES["1d"]))
    span = bars["ts"].min() - timedelta(days=31), bars["ts"].max()
    made = resample(bars, sessions.grid(TIMEFRAMES[timeframe], *span))
    columns = {name: bars[name].to_numpy() for name in ("symbol", "open", "high", "low", "close", "volume")}
    table = pd.DataFrame(columns, index=pd.DatetimeIndex(bars["ts"].to_numpy()))
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    theirs = table.groupby(["symbol", pd.Grouper(freq=rule)]).agg(rules)
    assert made["symbol"].to_list() == list(theirs.index.get_level_values(0))
    assert made.select(*rules).rows() == [tuple(row) for row in theirs.itertuples(index=False)]


def plain(bars: pl.DataFrame, labels: pl.DataFrame) -> list[tuple[object, ...]]:
    made: dict[tuple[str, datetime], list[object]] = {}
    for symbol, ts, closed_at, open_, high, low, close, volume in bars.rows():
        before = [row for row in labels.rows() if row[0] <= ts]
        if not before or closed_at > before[-1][1]:
            continue
        bar = made.setdefault((symbol, before[-1][0]), [open_, high, low, close, None])
        bar[1:4] = max(bar[1], high), min(bar[2], low), close
        bar[4] = bar[4] if volume is None else (bar[4] or 0) + volume
    return [(*key, *bar) for key, bar in made.items()]


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from("AB"), st.integers(-5, 60)),
        st.tuples(*[st.integers(1, 9)] * 4, st.none() | st.integers(0, 5)),
        max_size=40,
    ),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6, unique_by=lambda bar: bar[0]),
    st.integers(1, 10),
)
def test_it_does_what_a_plain_loop_does(parts, labels, length):
    frames = [
        minutes(symbol, length, {at: bar for (name, at), bar in sorted(parts.items()) if name == symbol})
        for symbol in "AB"
    ]
    bars, larger = pl.concat(frames), grid(*((at, at + lasts) for at, lasts in sorted(labels)))
    assert resample(bars, larger).rows() == plain(bars, larger)
