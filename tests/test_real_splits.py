"""Every split of Apple since 2000, bar by bar through whole cycles, each bar as its source showed it then.

A source works a split into the bars before it, sooner or later, and names it or not: these are its *ways*, each of them
a symbol here. `FINAL` has the history as it was in the end, and whatever the way, it must be told as that is. The bars
of 2000 and 2005 are in the sample. The others, and hours, are recorded data that are not part of the project: they are
looked for in `../shared/data` beside it, or in `BARWATCH_TEST_DATA`.
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest

from monitor import assembly
from monitor.config.snapshot import Watched, load_snapshot
from monitor.core.adjust import Split, undo_splits
from monitor.core.bars import BAR_SCHEMA, INSTANT, PRICES
from monitor.core.evaluate import Memory, evaluate
from monitor.core.events import Event
from monitor.core.timeframe import Timeframe
from monitor.ports import Fetched, Provider
from monitor.providers.files import FilesProvider
from monitor.providers.replay import ReplayProvider
from tests.test_real_revisions import SHARES, days, traded
from tests.worlds import World

CONFIG = """
state_directory = "state"

[channels.file]
kind = "file"
path = "messages.jsonl"
"""
WATCHLIST = """
market = "XNYS"
symbols = ["FINAL", "AT-ONCE", "NAMED", "LATE", "NAMELESS"]
timeframes = ["{timeframe}"]
channels = ["file"]

[[checks]]
name = "trend"
rule = "trend"
early_warning = true

[[checks]]
name = "average"
when = "close < sma(close, 20)"
trigger = "change"

[[checks]]
name = "level"
when = "close < {level}"
trigger = "change"

[[checks]]
name = "gap"
when = "open < 0.8 * prev(close, 1) or open > 1.25 * prev(close, 1)"

[[checks]]
name = "fall"
when = "close < 0.7 * highest(high, 10)"

[[checks]]
name = "volume"
when = "volume > 1.5 * sma(volume, 20)"
"""
RATIOS = {"2000-06-21": 2, "2005-02-28": 2, "2014-06-09": 7, "2020-08-31": 4}
WARM_UP = 45
AT_ONCE, NEXT_DAY, LONG_AGO = timedelta(0), timedelta(days=1), timedelta(days=-9999)
recorded = pytest.mark.skipif(not SHARES.exists(), reason=f"no recorded data in {SHARES}")


@dataclass(frozen=True)
class Way:
    """How long after it begins a split is worked in, and whether it is named from its beginning on."""

    late: timedelta = AT_ONCE
    named: bool = False


WAYS = {
    "FINAL": Way(LONG_AGO),
    "AT-ONCE": Way(),
    "NAMED": Way(named=True),
    "LATE": Way(NEXT_DAY, named=True),
    "NAMELESS": Way(NEXT_DAY),
}


class Views(ReplayProvider):
    """Shows bars that are kept as they were traded, each symbol in its way."""

    def __init__(self, bars: pl.DataFrame, split: Split) -> None:
        self._bars, self._split = bars, split

    def view(self, symbol: str, now: datetime) -> pl.DataFrame:
        known = self._bars.filter(pl.col("closed_at") <= now).with_columns(symbol=pl.lit(symbol))
        worked_in = self._split.ts + WAYS[symbol].late <= now
        return undo_splits(known, [self._split]) if worked_in else known

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        history = pl.concat(self.view(symbol, now) for symbol in sorted(since))
        shown = ReplayProvider({timeframe.name: history}).fetch(since, timeframe, now)
        named = [symbol for symbol in since if WAYS[symbol].named and self._split.ts <= now]
        return Fetched(shown.bars, shown.as_of, splits=dict.fromkeys(named, (self._split,)))


class Rewritten(FilesProvider):
    """A folder whose files another program writes anew before each poll."""

    def __init__(self, folder: Path, views: Views) -> None:
        super().__init__(folder)
        self._kept, self._views = folder, views

    def fetch(self, since: Mapping[str, datetime | None], timeframe: Timeframe, now: datetime) -> Fetched:
        for symbol in since:
            shown = self._views.view(symbol, now).select(pl.col("ts").dt.date().alias("date"), *PRICES, "volume")
            shown.write_csv(self._kept / timeframe.name / f"{symbol}.csv")
        return super().fetch(since, timeframe, now)


def sample() -> pl.DataFrame:
    """Days of Apple as they were traded, from the wheel of the sample bars."""
    rows = pl.read_csv(gzip.decompress((files("bokeh_sampledata") / "_data" / "stocks.csv.gz").read_bytes()))
    ts = pl.col("Date").str.to_datetime("%Y-%m-%d", time_zone="UTC").cast(INSTANT)
    numbers = [pl.col(name.title()).cast(pl.Float64).alias(name) for name in (*PRICES, "volume")]
    apple = rows.filter(pl.col("Ticker") == "AAPL").select(ts.alias("ts"), *numbers, symbol=pl.lit("AAPL"))
    return apple.with_columns(closed_at=pl.col("ts") + timedelta(hours=21)).select(*BAR_SCHEMA).sort("ts")


def of_days() -> pl.DataFrame:
    return days("usa/daily", "aapl")


def of_hours() -> pl.DataFrame:
    return traded("usa/hour", "aapl", timedelta(hours=1))


def around(bars: pl.DataFrame, day: str, before: int, after: int) -> tuple[pl.DataFrame, Split]:
    """The bars around a split, so many to be polled for before and after it begins, and the split."""
    first = bars["ts"].search_sorted(datetime.fromisoformat(day).replace(tzinfo=UTC))
    part = bars.slice(first - before - WARM_UP, WARM_UP + before + after)
    return part, Split(bars["ts"][first], Fraction(RATIOS[day]))


def world(folder: Path, timeframe: str, bars: pl.DataFrame, split: Split) -> World:
    """It watches, among others, a level between the prices before a split and those after it."""
    level = 0.6 * bars.filter(pl.col("ts") < split.ts)["close"][-1]
    return World(folder, WATCHLIST.format(timeframe=timeframe, level=level), CONFIG)


def polled(world: World, provider: Provider, bars: pl.DataFrame) -> dict[str, list[tuple[str, datetime, str]]]:
    """What is told of each symbol when it is polled five minutes after each bar is due."""
    snapshot = load_snapshot(world.config)
    [watched] = snapshot.watched
    told = {symbol: [] for symbol in watched.markets}
    with assembly.assembled(snapshot, [provider]) as parts:
        for closed_at in bars["closed_at"][WARM_UP - 1 :]:
            now = closed_at + watched.grace + timedelta(minutes=5)
            for event in parts.pipeline.run_cycle(now, watched, watched.markets).events:
                told[event.symbol].append(named(watched, event))
    return told


def named(watched: Watched, event: Event) -> tuple[str, datetime, str]:
    return watched.names.get(event.check_digest, "notice"), event.ts, event.kind.value


SAMPLED = [(sample, day, 10, 5) for day in RATIOS if day < "2013"]
RECORDED = [pytest.param(of_days, day, 30, 10, marks=recorded) for day in RATIOS]


@pytest.mark.parametrize(("source", "day", "before", "after"), SAMPLED + RECORDED)
def test_days_are_told_as_if_a_split_had_been_worked_in_for_ever(tmp_path, source, day, before, after):
    bars, split = around(source(), day, before, after)
    told = polled(world(tmp_path, "1d", bars, split), Views(bars, split), bars)
    told["NAMELESS"].remove(("notice", split.ts, "quarantined"))  # on the first day nobody can know
    assert told == dict.fromkeys(WAYS, told["FINAL"])
    assert len(told["FINAL"]) > 3


@recorded
@pytest.mark.parametrize("day", RATIOS)
def test_hours_are_told_as_if_a_split_had_been_worked_in_for_ever(tmp_path, day):
    bars, split = around(of_hours(), day, before=7, after=16)
    told = polled(world(tmp_path, "1h", bars, split), Views(bars, split), bars)
    told["NAMELESS"].remove(("notice", split.ts, "quarantined"))
    assert told == dict.fromkeys(WAYS, told["FINAL"])
    assert len(told["FINAL"]) > 3


@pytest.mark.parametrize(("source", "day", "before", "after"), SAMPLED)
def test_files_that_are_written_anew_are_told_as_if_a_split_had_always_been_in_them(
    tmp_path, source, day, before, after
):
    bars, split = around(source(), day, before, after)
    rewritten = Rewritten(tmp_path / "bars", Views(bars, split))
    told = polled(world(tmp_path, "1d", bars, split), rewritten, bars)
    assert told["AT-ONCE"] == told["FINAL"] != []


@pytest.mark.parametrize(("source", "day", "before", "after"), SAMPLED + RECORDED)
def test_the_checks_would_see_a_split_that_is_not_worked_in(tmp_path, source, day, before, after):
    bars, split = around(source(), day, before, after)
    [watched] = load_snapshot(world(tmp_path, "1d", bars, split).config).watched
    bars = bars.with_columns(symbol=pl.lit("LATE"))
    found = evaluate(bars, watched.plan, watched.timeframe, Memory(), armed_from=bars["ts"][WARM_UP]).events
    seen = {name for name, ts, _ in (named(watched, event) for event in found) if ts == split.ts}
    assert seen >= {"level", "gap", "fall"}
