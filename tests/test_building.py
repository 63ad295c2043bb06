from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import polars as pl
import pytest

from monitor.core.adjust import Split
from monitor.ports import Instrument
from monitor.stores.database import StateDirectory
from tests.flaky import DAY, HOUR, MINUTE, Flaky, bars
from tests.test_sources import BTC, running, stored_closes
from tests.worlds import CONFIG, START, WATCHLIST, World, day

HOURLY = """
market = "24/7"
symbols = ["BTC-USD"]
timeframes = ["5m", "1h"]
channels = []

[[checks]]
name = "high"
when = "close > 100"
"""
GRAINS = [90.0 + i % 7 for i in range(12 * 24 * 3)]


@pytest.fixture
def hourly(tmp_path):
    """A world that watches five minutes and hours, and a provider of two days of both."""
    grains = bars(BTC, "5m", START, GRAINS)
    hours = grains.group_by_dynamic("ts", every="1h", group_by="symbol").agg(
        pl.col("closed_at").last(),
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume").sum(),
    )
    return World(tmp_path, HOURLY), Flaky("first", {"5m": grains, "1h": hours})


def test_hours_are_built_from_watched_minutes_without_a_request(hourly):
    world, first = hourly
    with running(world, first) as cycle:
        for timeframe in ("5m", "1h"):
            cycle(day(1), timeframe)
        first.asked.clear()
        for timeframe in ("5m", "1h"):
            cycle(day(1, 1), timeframe)
    assert [timeframe for timeframe, _ in first.asked] == ["5m"]
    assert stored_closes(world, "1h")[-1] == GRAINS[12 * 25 - 1]
    assert len(stored_closes(world, "1h")) == 25


def test_an_hour_waits_for_the_last_of_its_minutes(hourly):
    world, first = hourly
    with running(world, first) as cycle:
        for timeframe in ("5m", "1h"):
            cycle(day(1), timeframe)
        cycle(day(1) + 55 * MINUTE, "5m")
        receipt = cycle(day(1, 1), "1h")
        assert "the bar of 2026-01-02 00:00 UTC has not come yet" in receipt.missing[BTC]
        cycle(day(1, 1), "5m")
        assert cycle(day(1, 1), "1h").bars == 1


def test_a_correction_of_the_minutes_reaches_the_hours(hourly):
    world, first = hourly
    with running(world, first) as cycle:
        for now in (day(1), day(1, 2)):
            for timeframe in ("5m", "1h"):
                cycle(now, timeframe)
        changed = [*GRAINS]
        changed[12 * 26 - 1] = 99.0
        second = Flaky("first", {"5m": bars(BTC, "5m", START, changed)})
    with running(world, second) as cycle:
        for timeframe in ("5m", "1h"):
            cycle(day(1, 2) + MINUTE, timeframe)
    assert stored_closes(world, "1h")[-1] == 99.0


@pytest.mark.parametrize(("timeframe", "native", "expected"), [("4h", "1h", 6), ("1wk", "1d", 7), ("1mo", "1d", 1)])
def test_what_a_provider_does_not_have_is_built_from_what_it_has(tmp_path, timeframe, native, expected):
    world = World(tmp_path, HOURLY.replace('"5m", "1h"', f'"{timeframe}"'))
    length, first = (HOUR, START) if native == "1h" else (DAY, START - 20 * DAY)
    closes = [90.0 + i % 7 for i in range(24 if native == "1h" else 52)]
    source = Flaky("first", {native: bars(BTC, native, first, closes)})
    with running(world, source) as cycle:
        receipt = cycle(first + len(closes) * length, timeframe)
    assert receipt.missing == {}
    assert len(stored_closes(world, timeframe)) == expected


def both(cycle, now):
    """A cycle of the smaller timeframe and one of the larger; the receipt of that."""
    cycle(now, "5m")
    return cycle(now, "1h")


def labels(world, timeframe):
    database = StateDirectory(world.folder / "state").open("bars")
    try:
        return [
            row[0] // 3_600_000_000 % 24
            for row in database.rows("SELECT ts FROM bars WHERE timeframe = ? ORDER BY ts", (timeframe,))
        ]
    finally:
        database.close()


def test_the_hour_that_ends_just_before_the_first_poll_is_built_later(tmp_path, hourly):
    world, first = hourly
    world.config.write_text(CONFIG.replace("intraday = 0", "intraday = 90"))
    with running(world, first) as cycle:
        both(cycle, day(1, 10) + timedelta(seconds=30))
        assert both(cycle, day(1, 11) + timedelta(seconds=91)).missing == {}
    assert labels(world, "1h")[-3:] == [8, 9, 10]


class Telling(Flaky):
    """Knows the market of each symbol."""

    def fetch(self, since, timeframe, now):
        given = super().fetch(since, timeframe, now)
        return replace(given, instruments=dict.fromkeys(given.as_of, Instrument("XETR", "EUR", "index")))


def test_the_first_bars_built_are_on_the_grid_of_the_market_that_the_provider_tells(tmp_path):
    watchlist = WATCHLIST.replace('market = "24/7"\n', "").replace(BTC, "^GDAXI").replace('["1d"]', '["4h"]')
    world = World(tmp_path, watchlist)
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    week = [bars("^GDAXI", "1h", monday + n * DAY + 8 * HOUR, [90.0] * 9) for n in range(5)]
    with running(world, Telling("first", {"1h": pl.concat(week)})) as cycle:
        cycle(monday + 4 * DAY + 21 * HOUR, "4h")
    assert set(labels(world, "4h")) == {8, 12, 16}


def test_a_smaller_timeframe_that_is_watched_later_changes_no_bar_that_the_provider_gave(tmp_path):
    world = World(tmp_path, HOURLY.replace('"5m", "1h"', '"1h"'))
    minutes = bars(BTC, "5m", START, [90.0] * 12 * 20 + [99.0] * 24)
    first = Flaky("first", {"5m": minutes, "1h": bars(BTC, "1h", START, [90.0] * 20 + [101.0, 99.0])})
    with running(world, first) as cycle:
        cycle(day(0, 20), "1h")
        assert [event.ts for event in cycle(day(0, 21), "1h").events] == [day(0, 20)]
    world.write_watchlist(HOURLY)
    with running(world, first) as cycle:
        assert both(cycle, day(0, 22)).events == []
    assert stored_closes(world, "1h")[-2:] == [101.0, 99.0]


class Splitting(Flaky):
    """Names a split of fifty to one."""

    def fetch(self, since, timeframe, now):
        given = super().fetch(since, timeframe, now)
        return replace(given, splits=dict.fromkeys(given.as_of, (Split(day(1, 3), Fraction(50)),)))


def priced(kind, price, hours, lacking=frozenset()):
    """A provider of minutes and hours at one price, some hours of which it may lack."""
    minutes = {12 * hour + n for hour in lacking for n in range(12)}
    grains = bars(BTC, "5m", START, [price] * 12 * hours, minutes)
    return kind("first", {"5m": grains, "1h": bars(BTC, "1h", START, [price] * hours, lacking)})


def test_a_split_of_fifty_to_one_reaches_what_is_built(tmp_path):
    world = World(tmp_path, HOURLY)
    with running(world, priced(Flaky, 5000.0, 30)) as cycle:
        for hour in (0, 1, 2, 3):
            both(cycle, day(1, hour))
    with running(world, priced(Splitting, 100.0, 30)) as cycle:
        assert both(cycle, day(1, 4)).missing == {}
    assert set(stored_closes(world, "1h")) == {100.0}


class Quiet(Flaky):
    """Says that in one hour nothing was traded."""

    def fetch(self, since, timeframe, now):
        given = super().fetch(since, timeframe, now)
        untraded = {"symbol": [BTC] * 12, "ts": [day(1, 2) + n * 5 * MINUTE for n in range(12)]}
        return replace(given, quiet=pl.DataFrame(untraded, given.quiet.schema))


def test_an_hour_in_which_nothing_was_traded_is_no_hole_among_those_that_are_built(tmp_path):
    world = World(tmp_path, HOURLY)
    with running(world, priced(Quiet, 90.0, 30, {26})) as cycle:
        for hour in (0, 1, 2, 3, 4):
            receipt = both(cycle, day(1, hour))
    assert receipt.missing == {}
    assert labels(world, "1h")[-3:] == [0, 1, 3]


def test_four_hours_are_not_judged_without_their_last_hour(tmp_path):
    world = World(tmp_path, WATCHLIST.replace('["1d"]', '["4h"]'))
    closes = [90.0] * 26 + [110.0, 90.0] + [90.0] * 4
    first = Flaky("first", {"1h": bars(BTC, "1h", START, closes, {27})})
    with running(world, first) as cycle:
        cycle(day(1), "4h")
        receipts = [cycle(day(1, hour), "4h") for hour in (4, 5)]
    assert [receipt.events for receipt in receipts] == [[], []]
    assert labels(world, "4h")[-1] == 20
