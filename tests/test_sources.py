import contextlib
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from monitor import assembly
from monitor.breaker import FAILURES, Breaker
from monitor.config.snapshot import load_snapshot
from monitor.core.events import EventKind
from monitor.errors import ProviderError, RateLimited, UnknownSymbol, Unreachable
from monitor.ports import Fetched
from monitor.stores.database import StateDirectory
from tests.flaky import HOUR, MINUTE, Flaky, bars
from tests.test_revisions import quality
from tests.worlds import START, WATCHLIST, World, day

DOWN = Unreachable("it does not answer")
BTC, ETH = "BTC-USD", "ETH-USD"


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


def outage(cycle, provider, since):
    """Let a provider fail for so long that another one takes over; the last receipt."""
    provider.failing = DOWN
    return [cycle(since + minutes * MINUTE) for minutes in (0, 1, 2, 3, 4, 31)][-1]


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


def test_a_provider_that_is_closed_has_not_failed():
    breaker = Breaker("first", None)
    closed = ProviderError("it is not asked any more: the provider is closed")
    breaker.note(Fetched(Flaky.nothing(), {}, {f"S{n}": closed for n in range(FAILURES + 1)}), day(1))
    assert breaker.lets_through(day(1))
    assert breaker.record.failing_since is None


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
        outage(cycle, first, day(6))
        first.failing = None
        cycle(day(6, 23))
        assert stored_closes(world) == [91] * 6
        cycle(day(7, 1))
    assert stored_closes(world) == [90] * 7


def test_a_series_that_the_first_provider_cannot_give_again_stays_and_is_not_silent(world):
    first, second = daily("first", [90] * 9), daily("second", [91] * 8 + [111])
    with running(world, first, second) as cycle:
        cycle(day(5))
        outage(cycle, first, day(6))
        first.failing = UnknownSymbol("never heard of it")
        assert cycle(day(8)).missing == {}
        assert [event.ts for event in cycle(day(9)).events] == [day(8)]


def test_a_provider_in_another_unit_does_not_replace_one(world):
    first, second = daily("first", [90] * 9), daily("second", [9000] * 9)
    with running(world, first, second) as cycle:
        cycle(day(5))
        receipt = outage(cycle, first, day(6))
    assert "or has them in another unit" in receipt.missing[BTC]
    assert stored_closes(world) == [90] * 5


def test_a_series_goes_on_with_a_provider_that_does_not_reach_back_to_what_was_judged_last(world):
    first, second = daily("first", [90] * 16), daily("second", [90] * 15 + [110], set(range(8)))
    with running(world, first, second) as cycle:
        cycle(day(5))
        assert outage(cycle, first, day(15)).missing == {}
    with running(world, first, second) as cycle:
        assert [event.ts for event in cycle(day(16)).events] == [day(15)]


def test_bars_missed_before_the_history_of_another_provider_begins_are_told_as_a_gap(world):
    first, second = daily("first", [90] * 12), daily("second", [90] * 12, set(range(3, 8)))
    with running(world, first, second) as cycle:
        cycle(day(5))
        receipt = outage(cycle, first, day(12))
    [gap] = receipt.events
    assert (gap.kind, gap.ts, gap.evidence["first"]) == (EventKind.GAP, day(7), "2026-01-06 00:00 UTC")


def test_a_jump_in_the_newest_bar_of_another_provider_is_doubted(world):
    first, second = daily("first", [90] * 9), daily("second", [91] * 5 + [9100] + [91] * 3)
    with running(world, first, second) as cycle:
        cycle(day(5))
        receipt = outage(cycle, first, day(6))
    assert [event.kind for event in receipt.events] == [EventKind.QUARANTINED]
    assert stored_closes(world) == [91] * 5


@pytest.fixture
def coins(tmp_path):
    return World(tmp_path, WATCHLIST.replace('["BTC-USD"]', '["BTC-USD", "ETH-USD"]'))


def pairs(kind, name, days, lacking=frozenset()):
    """A provider of both coins, some days of the second of which it may lack."""
    return kind(
        name, {"1d": pl.concat([bars(BTC, "1d", START, [90] * days), bars(ETH, "1d", START, [50] * days, lacking)])}
    )


def test_a_symbol_of_which_there_were_no_bars_begins_with_another_provider(coins):
    first, second = pairs(Flaky, "first", 9, set(range(8))), pairs(Flaky, "second", 9)
    with running(coins, first, second) as cycle:
        assert [*cycle(day(5)).missing] == [ETH]
        assert outage(cycle, first, day(6)).missing == {}
    assert quality(coins, lambda quality: quality.origins("1d", [ETH])) == {ETH: "second"}


class OneBad(Flaky):
    """Up, but for one symbol it has no sensible answer."""

    bad = False

    def fetch(self, since, timeframe, now):
        if not self.bad:
            return super().fetch(since, timeframe, now)
        given = super().fetch({symbol: label for symbol, label in since.items() if symbol != ETH}, timeframe, now)
        return replace(given, failures={ETH: DOWN} if ETH in since else {})


def test_a_series_whose_first_provider_fails_for_it_alone_stays_and_is_not_silent(coins):
    first, second = pairs(OneBad, "first", 12), pairs(Flaky, "second", 12)
    with running(coins, first, second) as cycle:
        cycle(day(5))
        outage(cycle, first, day(6))
        first.failing, first.bad = None, True
        for number in (8, 9, 10):
            assert cycle(day(number)).missing == {}
    assert quality(coins, lambda quality: quality.origins("1d", [BTC, ETH])) == {BTC: "first", ETH: "second"}


def test_bars_of_a_provider_that_is_not_known_any_more_are_never_mixed_with_anothers(world):
    with running(world, daily("gone", [90] * 6)) as cycle:
        cycle(day(6))
    with running(world, daily("first", [91] * 9)) as cycle:
        cycle(day(8))
    assert stored_closes(world) == [91] * 8


def test_a_bar_that_one_provider_lacks_is_had_from_another_with_all_its_history(world):
    first, second = daily("first", [90] * 5 + [110] + [90] * 3, {5}), daily("second", [91] * 5 + [111] + [91] * 3)
    with running(world, first, second) as cycle:
        cycle(day(5))
        [event] = cycle(day(7)).events
    assert (event.kind, event.ts) == (EventKind.BECAME_TRUE, day(5))
    assert stored_closes(world) == [91] * 5 + [111, 91]


def test_a_series_that_changed_its_provider_for_a_bar_does_not_return_to_lose_it(world):
    first, second = daily("first", [90] * 12, {5}), daily("second", [91] * 12)
    with running(world, first, second) as cycle:
        cycle(day(5))
        for number in range(7, 11):
            cycle(day(number))
    assert stored_closes(world) == [91] * 10


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
