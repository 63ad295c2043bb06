import contextlib
from datetime import timedelta

import polars as pl
import pytest

from monitor import assembly
from monitor.config.snapshot import load_snapshot
from monitor.core.events import EventKind
from monitor.errors import RateLimited, UnknownSymbol, Unreachable
from monitor.stores.database import StateDirectory
from tests.flaky import DAY, HOUR, MINUTE, Flaky, bars
from tests.test_revisions import quality
from tests.worlds import START, World, day

DOWN = Unreachable("it does not answer")
BTC = "BTC-USD"


def daily(name, closes, lacking=frozenset()):
    return Flaky(name, {"1d": bars(BTC, "1d", START, closes, lacking)})


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@contextlib.contextmanager
def running(world, *providers):
    """A process on the world's store, asking these providers."""
    with assembly.assembled(load_snapshot(world.config), providers) as parts:

        def cycle(now, timeframe="1d"):
            [watched] = [one for one in parts.snapshot.watched if one.timeframe.name == timeframe]
            return parts.pipeline.run_cycle(now, watched, watched.markets)

        yield cycle


def stored_closes(world, timeframe="1d"):
    database = StateDirectory(world.folder / "state").open("bars")
    try:
        return [row[0] for row in database.rows("SELECT close FROM bars WHERE timeframe = ? ORDER BY ts", (timeframe,))]
    finally:
        database.close()


def test_a_provider_that_bans_us_is_left_alone_for_longer_each_time(world):
    first = daily("first", [90] * 9)
    first.failing = RateLimited("too many requests")
    with running(world, first) as cycle:
        asked = []
        for minute in range(240):
            cycle(day(1) + minute * MINUTE)
            asked.append(len(first.asked))
    assert [minute for minute in range(1, 240) if asked[minute] > asked[minute - 1]] == [15, 45, 105, 225]


def test_a_ban_outlives_a_restart_and_every_symbol_says_until_when(world):
    first = daily("first", [90] * 9)
    first.failing = RateLimited("too many requests")
    with running(world, first) as cycle:
        cycle(day(1))
    with running(world, first) as cycle:
        receipt = cycle(day(1) + MINUTE)
    assert receipt.missing[BTC] == "first is not asked before 2026-01-02 00:15 UTC: too many requests"
    assert len(first.asked) == 1


def test_a_provider_that_names_a_time_is_left_alone_until_then(world):
    first = daily("first", [90] * 9)
    first.failing = RateLimited("too many requests", retry_after=5 * HOUR)
    with running(world, first) as cycle:
        cycle(day(1))
        assert "05:00 UTC" in cycle(day(1) + HOUR).missing[BTC]


def test_a_provider_is_left_alone_after_failing_five_times_in_a_row(world):
    first = daily("first", [90] * 9)
    first.failing = DOWN
    with running(world, first) as cycle:
        for second in range(30):
            cycle(day(1) + timedelta(seconds=second))
        assert len(first.asked) == 5


def test_a_symbol_that_is_unknown_says_nothing_about_the_provider(world):
    first = daily("first", [90] * 9)
    first.failing = UnknownSymbol("no such symbol")
    with running(world, first) as cycle:
        for _ in range(9):
            receipt = cycle(day(1))
    assert len(first.asked) == 9
    assert "no such symbol" in receipt.missing[BTC]


def test_after_an_outage_the_missed_bars_come_in_order(world):
    first = daily("first", [90, 90, 110, 90, 110, 90])
    with running(world, first) as cycle:
        cycle(day(1))
        first.failing = DOWN
        assert cycle(day(2)).events == []
        first.failing = None
        assert [event.ts for event in cycle(day(6)).events] == [day(2), day(4)]


def test_when_a_provider_stays_down_the_next_one_gives_the_whole_history(world):
    first, second = daily("first", [90] * 9), daily("second", [91] * 5 + [111] * 4)
    with running(world, first, second) as cycle:
        cycle(day(5))
        first.failing = DOWN
        assert BTC in cycle(day(6)).missing
        assert second.asked == []
        receipts = [cycle(day(6) + minutes * MINUTE) for minutes in (1, 2, 3, 4, 31)]
    assert [event.ts for event in receipts[-1].events] == [day(5)]
    assert stored_closes(world) == [91] * 5 + [111]
    [revision] = quality(world, lambda quality: quality.revisions("1d", BTC, 9))
    assert (revision["kind"], revision["why"]) == ("switched", "first was replaced by second")
    assert quality(world, lambda quality: quality.origins("1d", [BTC])) == {BTC: "second"}


def test_a_series_returns_to_the_first_provider_after_a_day(world):
    first, second = daily("first", [90] * 9), daily("second", [91] * 9)
    with running(world, first, second) as cycle:
        cycle(day(5))
        first.failing = DOWN
        for minutes in (0, 1, 2, 3, 4, 31):
            cycle(day(6) + minutes * MINUTE)
        first.failing = None
        cycle(day(6, 23))
        assert stored_closes(world) == [91] * 6
        cycle(day(7, 1))
    assert stored_closes(world) == [90] * 7


def test_a_series_that_the_first_provider_cannot_give_again_stays_and_is_not_silent(world):
    first, second = daily("first", [90] * 9), daily("second", [91] * 8 + [111])
    with running(world, first, second) as cycle:
        cycle(day(5))
        first.failing = DOWN
        for minutes in (0, 1, 2, 3, 4, 31):
            cycle(day(6) + minutes * MINUTE)
        first.failing = UnknownSymbol("never heard of it")
        assert cycle(day(8)).missing == {}
        assert [event.ts for event in cycle(day(9)).events] == [day(8)]


def test_a_provider_in_another_unit_does_not_replace_one(world):
    first, second = daily("first", [90] * 9), daily("second", [9000] * 9)
    with running(world, first, second) as cycle:
        cycle(day(5))
        first.failing = DOWN
        for minutes in (0, 1, 2, 3, 4, 31):
            receipt = cycle(day(6) + minutes * MINUTE)
    assert "or has them in another unit" in receipt.missing[BTC]
    assert stored_closes(world) == [90] * 5


def test_a_bar_that_one_provider_lacks_is_had_from_another_with_all_its_history(world):
    first, second = daily("first", [90] * 5 + [110] + [90] * 3, {5}), daily("second", [91] * 5 + [111] + [91] * 3)
    with running(world, first, second) as cycle:
        cycle(day(5))
        [event] = cycle(day(7)).events
    assert (event.kind, event.ts) == (EventKind.BECAME_TRUE, day(5))
    assert stored_closes(world) == [91] * 5 + [111, 91]


def test_prices_in_pence_are_not_believed_however_often_they_come(world):
    first = daily("first", [90] * 6 + [9000] * 3)
    with running(world, first) as cycle:
        cycle(day(6))
        for hour in range(1, 9):
            assert "in quarantine" in cycle(day(7, hour)).missing[BTC]


def test_what_is_doubted_is_believed_when_another_provider_agrees(world):
    first, second = daily("first", [90] * 6 + [9000] * 3), daily("second", [90] * 6 + [9001] * 3)
    with running(world, first, second) as cycle:
        cycle(day(6))
        assert [event.ts for event in cycle(day(7)).events] == [day(6)]


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
