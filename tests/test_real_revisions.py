"""Real splits, real crashes and real faults of a source, told apart.

They need the recorded data that are not part of the project: `../shared/data` beside it, or `BARWATCH_TEST_DATA`.
"""

import os
import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from monitor.core.adjust import Split, undo_splits
from monitor.core.bars import BAR_SCHEMA, INSTANT, PRICES, violations
from monitor.core.revise import Change, compare, even_out, find_jump, find_spikes

DATA = Path(os.environ.get("BARWATCH_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SHARES = DATA / "lean" / "Data" / "equity"
FAULTS = DATA / "yfinance_testdata"
OVERLAP = 5

pytestmark = pytest.mark.skipif(not SHARES.exists() or not FAULTS.exists(), reason=f"no recorded data in {DATA}")


def traded(folder, symbol, length):
    """Bars as they were traded, from a zip of `time, open, high, low, close, volume` in New York."""
    with zipfile.ZipFile(SHARES / folder / f"{symbol}.zip") as archive:
        rows = pl.read_csv(archive.read(archive.namelist()[0]), has_header=False, new_columns=["at", *PRICES, "volume"])
    ts = pl.col("at").str.to_datetime("%Y%m%d %H:%M")
    daily = length > timedelta(hours=1)
    ts = (
        ts.dt.replace_time_zone("UTC")
        if daily
        else ts.dt.replace_time_zone("America/New_York").dt.convert_time_zone("UTC")
    )
    bars = rows.select(
        pl.lit(symbol).alias("symbol"),
        ts.cast(INSTANT).alias("ts"),
        (ts + length).cast(INSTANT).alias("closed_at"),
        pl.col(*PRICES) / 10_000,
        pl.col("volume").cast(pl.Float64),
    )
    return bars.select(*BAR_SCHEMA).sort("ts")


def days(folder, symbol):
    return traded(folder, symbol, timedelta(hours=21))


def splits(folder, symbol, bars):
    """The splits among these bars, from a file of `last day, price factor, split factor`."""
    path = SHARES / folder / f"{symbol}.csv"
    lines = [line.split(",") for line in path.read_text().split()] if path.exists() else []
    found = []
    for (until, _, factor, *_), (_, _, following, *_) in pairwise(lines):
        last = datetime.strptime(until, "%Y%m%d").replace(tzinfo=UTC)
        new = bars.filter(pl.col("ts") > last + timedelta(hours=23))
        if factor != following and bars["ts"][0] < last and new.height:
            ratio = Fraction(float(following) / float(factor)).limit_denominator(200)
            found.append(Split(new["ts"][0], ratio))
    return found


def replayed(bars, splits, first=OVERLAP):
    """What each day's poll of the view as of that day shows: the day, what became of the bars before, and any jump."""
    stored = bars.slice(first - OVERLAP, OVERLAP)
    for row in range(first, bars.height):
        named = [split for split in splits if split.ts <= bars["ts"][row]]
        if not named or named[-1].ts == bars["ts"][row] or row == first:
            view = undo_splits(bars, named)
        given = even_out(view.slice(row - OVERLAP, OVERLAP + 1), named)
        assert given.equals(view.slice(row - OVERLAP, OVERLAP + 1))
        found = compare(stored, given, named)
        jump = find_jump(given.head(OVERLAP), given.tail(1))
        yield f"{bars['ts'][row]:%Y-%m-%d}", found, jump
        stored = given.tail(OVERLAP)


def test_every_split_of_apple_since_2000_moves_the_scale_on_its_day_and_nothing_else_changes():
    bars = days("usa/daily", "aapl").filter(pl.col("ts") >= datetime(2000, 1, 3, tzinfo=UTC))
    changed, jumps, seen = {}, {}, Counter()
    for day, found, jump in replayed(bars, splits("usa/factor_files", "aapl", bars)):
        seen[found.change] += 1
        assert found.changed.is_empty()
        if found.change is not Change.SAME:
            changed[day] = (found.change, 1 / found.ratio)
        if jump:
            jumps[day] = jump.ratio
    ratios = {"2000-06-21": 2, "2005-02-28": 2, "2014-06-09": 7, "2020-08-31": 4}
    assert changed == {day: (Change.RESCALED, pytest.approx(ratio)) for day, ratio in ratios.items()}
    assert seen[Change.SAME] == bars.height - OVERLAP - 4
    crash, *strays = jumps.items()
    assert crash == ("2000-09-29", pytest.approx(0.5257, abs=1e-4))
    assert [day for day, _ in strays] == ["2009-09-21", "2010-08-31", "2011-01-03"]


@pytest.mark.parametrize(
    ("day", "ratio"), [("1998-08-03", 1.5), ("1999-08-02", 1.25), ("2000-07-31", 1.5), ("2009-07-01", 0.05)]
)
def test_the_splits_of_aig_and_its_twenty_to_one_reverse_move_the_scale_alone(day, ratio):
    bars = days("usa/daily", "aig")
    named = splits("usa/factor_files", "aig", bars)
    start = bars.filter(pl.col("ts") < datetime.fromisoformat(day).replace(tzinfo=UTC)).height - 15
    part = bars.slice(start, 50)
    outcome = {at: found for at, found, _ in replayed(part, named) if found.change is not Change.SAME}
    assert [(at, found.change, found.changed.height) for at, found in outcome.items()] == [(day, Change.RESCALED, 0)]
    assert 1 / outcome[day].ratio == pytest.approx(ratio)


@pytest.mark.parametrize(("symbol", "count"), [("aapl", 4), ("aig", 4), ("vxx", 5)])
def test_hours_that_are_not_adjusted_on_the_day_of_a_split_are_evened_out(symbol, count):
    bars = traded("usa/hour", symbol, timedelta(hours=1))
    name = {"vxx": "vxx.1"}.get(symbol, symbol)
    named = splits("usa/factor_files", name, bars)
    assert len(named) == count
    for split in named:
        row = bars.filter(pl.col("ts") < split.ts).height
        stored, today = bars.slice(row - OVERLAP, OVERLAP), bars.slice(row - OVERLAP, OVERLAP + 6)
        for hours in range(1, 7):
            given = even_out(today.head(OVERLAP + hours), [split])
            found = compare(stored, given, [split])
            assert (found.change, found.changed.height) == (Change.RESCALED, 0)
            assert 1 / found.ratio == pytest.approx(float(split.ratio))
            assert find_jump(given.head(OVERLAP), given.slice(OVERLAP)) is None
            tomorrow = undo_splits(today.head(OVERLAP + hours), [split])
            assert compare(given, even_out(tomorrow, [split]), [split]).change is Change.SAME


# What is quarantined: all daily bars of the recorded US and Indian shares, their splits worked in.

TRUE_CRASHES = {
    ("aapl", "2000-09-29"),
    ("aig", "2008-09-15"),
    ("aig", "2008-09-16"),
    ("aig", "2008-09-17"),
    ("aig", "2008-09-19"),
    ("wm", "2008-09-19"),
    ("wm", "2008-09-26"),
    ("wmi", "1999-07-07"),
    ("uso", "1998-08-18"),
    ("bno", "2002-02-28"),
}
FAULTY_PRICES = {
    ("aapl", "2009-09-21"),
    ("aapl", "2010-08-31"),
    ("aapl", "2011-01-03"),
    ("aig", "2009-05-05"),
    ("goog", "2007-12-18"),
    ("goog", "2008-09-30"),
    ("ibm", "2002-12-23"),
}
ANOTHER_COMPANY = {
    ("aaa", "2007-05-15"),
    ("bno", "2010-06-02"),
    ("eem", "2003-04-11"),
    ("qqq", "2011-03-23"),
    ("uso", "2006-04-10"),
    ("wm", "2009-08-05"),
}
SPLITS_NOT_NAMED = {("goog", "2014-04-03"), ("wm", "2001-05-16")}


def jumps(bars):
    """The bars that come as a jump, each with the twenty before it; only where a price has moved by a quarter."""
    moved = pl.any_horizontal((pl.col(price) / pl.col("close").shift(1)).log().abs() > 0.25 for price in PRICES)
    rows = bars.with_row_index().filter(moved)["index"]
    return [
        jump
        for row in rows
        if row and (jump := find_jump(bars.slice(max(0, row - 20), min(row, 20)), bars.slice(row, 1)))
    ]


def test_of_seventy_thousand_real_days_ten_true_ones_are_doubted_and_every_split_not_named():
    found, counted = set(), 0
    for path in sorted(SHARES.glob("*/daily/*.zip")):
        country = path.parts[-3]
        bars = days(f"{country}/daily", path.stem)
        bars = undo_splits(bars, splits(f"{country}/factor_files", path.stem, bars))
        found |= {(path.stem, f"{jump.ts:%Y-%m-%d}") for jump in jumps(bars)}
        counted += bars.height
    assert counted == 70_520
    assert found == TRUE_CRASHES | FAULTY_PRICES | ANOTHER_COMPANY | SPLITS_NOT_NAMED


@pytest.mark.parametrize("symbol", ["aapl", "aig", "bac", "bno", "eem", "ibm", "iwm", "qqq", "uso"])
def test_a_whole_history_is_evened_out_by_the_splits_named_if_it_was_not_adjusted_and_left_alone_if_it_was(symbol):
    bars = days("usa/daily", symbol)
    named = splits("usa/factor_files", symbol, bars)
    assert named
    adjusted = undo_splits(bars, named)
    evened = even_out(bars, named).select(PRICES).to_numpy()
    assert evened == pytest.approx(adjusted.select(PRICES).to_numpy(), rel=1e-9)
    assert even_out(adjusted, named).equals(adjusted)


# The faults of Yahoo and their repaired twins


def yahoo(name):
    """The sound bars of a recorded answer of Yahoo, its splits, and how many rows were not sound."""
    rows = pl.read_csv(FAULTS / f"{name}.csv", infer_schema=False)
    when = pl.col(rows.columns[0]).str.slice(0, 19).str.to_datetime("%Y-%m-%d %H:%M:%S").dt.replace_time_zone("UTC")
    length = timedelta(hours=17 if "-1d-" in name or "-1wk-" in name else 1)
    prices = [pl.col(price.title()).cast(pl.Float64, strict=False).alias(price) for price in PRICES]
    bars = rows.select(
        pl.lit(name).alias("symbol"),
        when.cast(INSTANT).alias("ts"),
        (when + length).cast(INSTANT).alias("closed_at"),
        *prices,
        pl.col("Volume").cast(pl.Float64, strict=False).fill_null(0).alias("volume"),
        pl.col("Stock Splits").cast(pl.Float64).alias("split"),
    ).sort("ts")
    named = bars.filter(pl.col("split") != 0).select("ts", "split").rows()
    bars = bars.select(*BAR_SCHEMA)
    unsound = {violation.row for violation in violations(bars)}
    sound = bars.with_row_index().filter(~pl.col("index").is_in(list(unsound))).drop("index")
    return sound, [Split(ts, Fraction(ratio).limit_denominator(10_000)) for ts, ratio in named], len(unsound)


MENDED = {"4063-T-1d-bad-stock-split": 9, "AV-L-1wk-bad-stock-split": 22, "DEX-AX-1d-bad-stock-split": 15,
          "SPM-MI-1d-bad-stock-split": 13}  # fmt: skip
LEFT_OUT = {"AET-L-1d-100x-error": 9, "ALPHA-PA-1d-bad-stock-split": 1, "ASAI-L-1h-bad-unit": 1, "CLC-L-1d-bad-div": 6,
            "CNE-L-1d-bad-stock-split": 1, "LA-V-1d-bad-stock-split": 1, "LSC-L-1d-bad-div": 82,
            "MOB-ST-1d-bad-stock-split": 1, "NVT-L-1d-bad-div": 35, "SSNLF-1d-bad-div": 16,
            "SSW-JO-1d-100x-error": 18}  # fmt: skip
REPAIRED = {"AET-L-1d-100x-error": Change.DOUBTFUL, "CNE-L-1d-bad-stock-split": Change.RESCALED,
            "DEX-AX-1d-bad-stock-split": Change.MINOR}  # fmt: skip
SEEN_AS_GIVEN = {"4063-T-1d-bad-stock-split": Change.RESCALED, "AET-L-1d-100x-error": Change.DOUBTFUL,
                 "ALPHA-PA-1d-bad-stock-split": Change.CORRECTED, "ASAI-L-1h-bad-unit": Change.CORRECTED,
                 "AV-L-1wk-bad-stock-split": Change.CORRECTED, "CNE-L-1d-bad-stock-split": Change.CORRECTED,
                 "DEX-AX-1d-bad-stock-split": Change.RESCALED, "LA-V-1d-bad-stock-split": Change.CORRECTED,
                 "MOB-ST-1d-bad-stock-split": Change.CORRECTED, "SPM-MI-1d-bad-stock-split": Change.RESCALED,
                 "SSW-JO-1d-100x-error": Change.DOUBTFUL}  # fmt: skip
FAULTY = sorted(path.stem for path in FAULTS.glob("*.csv") if not path.stem.endswith("-fixed"))
TWINS = [name for name in FAULTY if (FAULTS / f"{name}-fixed.csv").exists()]


@pytest.mark.parametrize("name", FAULTY)
def test_of_a_faulty_history_just_the_faulty_bars_are_mended_or_left_out(name):
    bars, named, _ = yahoo(name)
    evened = even_out(bars, named)
    mended = (evened["close"] / bars["close"] - 1).abs() > 1e-9
    assert (mended.sum(), len(find_spikes(evened))) == (MENDED.get(name, 0), LEFT_OUT.get(name, 0))


@pytest.mark.parametrize("name", TWINS)
def test_what_was_taken_of_a_faulty_history_stands_when_it_is_repaired(name):
    bars, named, _ = yahoo(name)
    evened = even_out(bars, named)
    taken = evened.filter(~pl.col("ts").is_in([spike.ts for spike in find_spikes(evened)]))
    fixed, named, _ = yahoo(f"{name}-fixed")
    assert compare(taken, even_out(fixed, named), named).change is REPAIRED.get(name, Change.SAME)


@pytest.mark.parametrize("name", TWINS)
def test_a_repair_of_bars_that_were_taken_as_they_came_is_no_split_too_many(name):
    found = compare(yahoo(name)[0], yahoo(f"{name}-fixed")[0], [])
    assert found.change is SEEN_AS_GIVEN.get(name, Change.SAME)


@pytest.mark.parametrize("name", sorted({*MENDED, *LEFT_OUT} - {"AV-L-1wk-bad-stock-split"}))
def test_a_bar_that_is_faulty_on_its_day_is_doubted_with_no_split_named(name):
    bars, _, _ = yahoo(name)
    assert jumps(bars)
