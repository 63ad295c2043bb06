import pytest

from monitor.core.events import EventKind
from monitor.stores.database import StateDirectory
from monitor.stores.history import History
from monitor.stores.quality import Quality
from tests.worlds import WATCHLIST, World, day, weekend


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def cycle(world, now):
    with world.parts() as parts:
        [watched] = parts.snapshot.watched
        return parts.pipeline.run_cycle(now, watched, watched.markets)


def stored(world):
    state = StateDirectory(world.folder / "state").open("state")
    try:
        return History(state).events()[::-1], History(state).deliveries()[::-1]
    finally:
        state.close()


def quality(world, ask):
    bars = StateDirectory(world.folder / "state").open("bars")
    try:
        return ask(Quality(bars))
    finally:
        bars.close()


def told(world, closes, upto):
    world.write_bars(closes[:-1])
    cycle(world, day(upto - 1))
    world.write_bars(closes)
    return cycle(world, day(upto))


def test_an_event_that_a_correction_takes_the_ground_from_is_withdrawn_and_told_to_those_who_were_told(world):
    assert told(world, [90, 91, 92, 93, 94, 95, 110], 7).told == 1
    world.write_bars([90, 91, 92, 93, 94, 95, 96, 97])
    receipt = cycle(world, day(8))
    [first, withdrawal] = stored(world)[0]
    assert (withdrawal["kind"], withdrawal["ts"]) == ("withdrawn", first["ts"])
    assert withdrawal["evidence"]["withdraws"] == first["key"]
    assert withdrawal["evidence"]["close"] == 96
    assert {(one["channel"], one["reason"]) for one in stored(world)[1]} == {("file", "tell"), ("file", "withdrawn")}
    assert receipt.told == 1


def test_an_event_that_still_holds_after_a_correction_is_recorded_and_nothing_is_sent(world):
    told(world, [90, 91, 92, 93, 94, 95, 110], 7)
    world.write_bars([90, 91, 92, 93, 94, 95, 109])
    receipt = cycle(world, day(7))
    assert receipt.events == []
    [revision] = quality(world, lambda quality: quality.revisions("1d", "BTC-USD", 10))
    assert (revision["kind"], revision["before"]["close"], revision["after"]["close"]) == ("corrected", 110, 109)


def test_an_event_that_only_a_correction_shows_is_told_late(world):
    told(world, [90, 91, 92, 93, 94, 95, 96], 7)
    world.write_bars([90, 91, 92, 93, 94, 95, 110])
    [event] = cycle(world, day(7)).events
    assert (event.kind, event.ts) == (EventKind.BECAME_TRUE, day(6))
    assert "96 → 110" in event.evidence["late"]


def test_an_event_that_a_second_correction_brings_back_is_a_new_event(world):
    told(world, [90, 91, 92, 93, 94, 95, 110], 7)
    for close in (96, 110, 96):
        world.write_bars([90, 91, 92, 93, 94, 95, close])
        cycle(world, day(7))
    events = stored(world)[0]
    assert sorted((event["kind"], event["revision"]) for event in events) == [
        ("became_true", 0), ("became_true", 1), ("withdrawn", 0), ("withdrawn", 1),
    ]  # fmt: skip


def test_what_was_held_back_is_withdrawn_from_nobody(world):
    world.write_watchlist(WATCHLIST + 'cooldown = "9 bars"\n')
    told(world, [90, 110, 90, 90, 90, 90, 110], 2)
    world.write_bars([90, 110, 90, 90, 90, 90, 110])
    assert cycle(world, day(7)).held == 1
    world.write_bars([90, 110, 90, 90, 90, 90, 96])
    receipt = cycle(world, day(7))
    assert (len(receipt.events), receipt.told) == (1, 0)


def test_what_never_arrived_is_withdrawn_from_nobody(world):
    told(world, [90, 91, 92, 93, 94, 95, 110], 7)
    store = StateDirectory(world.folder / "state").hold()
    state = store.open("state")
    with state.transaction() as connection:
        connection.execute("UPDATE deliveries SET state = 'dead'")
    state.close()
    store.release()
    world.write_bars([90, 91, 92, 93, 94, 95, 96])
    receipt = cycle(world, day(7))
    assert ([event.kind for event in receipt.events], receipt.told) == ([EventKind.WITHDRAWN], 0)


def test_a_late_event_is_not_held_back_by_what_was_told_for_a_later_bar(world):
    world.write_watchlist(WATCHLIST + 'cooldown = "1 bars"\n')
    for closes in ([90] * 6, [90] * 9 + [110]):
        world.write_bars(closes)
        cycle(world, day(len(closes)))
    world.write_bars([90, 90, 90, 90, 90, 90, 90, 110, 90, 110])
    receipt = cycle(world, day(10))
    assert ([event.ts for event in receipt.events], receipt.told) == ([day(7)], 1)


def test_of_two_late_events_the_second_is_held_back_by_the_first(world):
    world.write_watchlist(WATCHLIST + 'cooldown = "5 bars"\n')
    for known in (6, 10):
        world.write_bars([90] * known)
        cycle(world, day(known))
    world.write_bars([90, 90, 90, 90, 90, 90, 90, 110, 90, 110])
    receipt = cycle(world, day(10))
    assert ([event.ts for event in receipt.events], receipt.told, receipt.held) == ([day(7), day(9)], 1, 1)


def test_an_event_that_a_correction_brings_back_holds_the_next_one_back(world):
    world.write_watchlist(WATCHLIST + 'cooldown = "5 bars"\n')
    told(world, [90, 91, 92, 93, 94, 95, 110], 7)
    for close in (96, 110):
        world.write_bars([90, 91, 92, 93, 94, 95, close])
        cycle(world, day(7))
    world.write_bars([90, 91, 92, 93, 94, 95, 110, 90, 110])
    receipt = cycle(world, day(9))
    assert (len(receipt.events), receipt.told) == (1, 0)


def test_older_history_that_is_put_before_what_is_stored_is_not_late(world):
    world.write_bars([90] * 30, lacking=range(20))
    cycle(world, day(30))
    world.write_bars([90] * 25 + [90.5] + [90] * 4)
    cycle(world, day(30))
    kinds = quality(world, lambda quality: [one["kind"] for one in quality.revisions("1d", "BTC-USD", 99)])
    assert kinds == ["corrected"]


def test_a_minor_change_is_taken_and_nothing_is_evaluated_again(world):
    told(world, [90, 91, 92, 93, 94, 95, 100.05], 7)
    world.write_bars([90, 91, 92, 93, 94, 95, 99.99])
    assert cycle(world, day(7)).events == []
    [revision] = quality(world, lambda quality: quality.revisions("1d", "BTC-USD", 10))
    assert revision["kind"] == "minor"


def test_a_split_rewrites_the_history_and_makes_no_event(world):
    world.write_bars([404, 408, 412, 416, 420])
    cycle(world, day(5))
    world.write_bars([101, 102, 103, 104, 105, 106])
    receipt = cycle(world, day(6))
    assert (receipt.events, receipt.rewritten) == ([], ["BTC-USD"])


def test_a_correction_after_a_split_withdraws_nothing_that_was_told_before_it(world):
    closes = [380, 380, 380, 380, 380, 380, 480]
    world.write_watchlist(WATCHLIST.replace("close > 100", "close > 400"))
    assert told(world, closes, 7).told == 1
    world.write_bars([95.0] * 6 + [120.0, 121.0])
    assert cycle(world, day(8)).events == []
    world.write_bars([95.0] * 6 + [119.0, 121.0])
    assert cycle(world, day(8)).events == []


def test_a_split_and_a_correction_in_one_poll_withdraw_nothing(world):
    world.write_watchlist(WATCHLIST.replace("close > 100", "close > 400"))
    assert told(world, [380, 380, 380, 380, 380, 380, 480], 7).told == 1
    world.write_bars([95.0] * 6 + [119.0, 121.0])
    assert cycle(world, day(8)).events == []


def test_prices_in_pence_are_quarantined_and_told_about(world):
    told(world, [90, 91, 92, 93, 94, 95, 96], 7)
    world.write_bars([90, 91, 92, 93, 94, 95, 96, 9700])
    receipt = cycle(world, day(8))
    [notice] = receipt.events
    assert (notice.kind, notice.ts, receipt.told) == (EventKind.QUARANTINED, day(7), 1)
    assert receipt.missing["BTC-USD"].startswith("in quarantine: 2026-01-08: 9700")
    assert cycle(world, day(8)).events == []
    world.write_bars([90, 91, 92, 93, 94, 95, 96, 97])
    assert cycle(world, day(8)).missing == {}
    assert quality(world, lambda quality: quality.quarantines("1d", ["BTC-USD"])) == {}


def test_a_crash_of_the_price_is_believed_after_another_session(tmp_path):
    world = World(tmp_path, WATCHLIST.replace("24/7", "XNYS").replace("close > 100", "close < 60"))
    shut = {0, 1, 2, 3} | weekend(12)
    world.write_bars([90] * 11, lacking=shut)
    cycle(world, day(11))
    world.write_bars([90] * 11 + [50], lacking=shut)
    assert "in quarantine: 2026-01-12" in cycle(world, day(12)).missing["BTC-USD"]
    assert "in quarantine: 2026-01-12" in cycle(world, day(12, 1)).missing["BTC-USD"]
    [event] = cycle(world, day(12, 22)).events
    assert event.ts == day(11)


def test_what_a_person_believes_is_taken_up(world):
    told(world, [90, 91, 92, 93, 94, 95, 96], 7)
    world.write_bars([90, 91, 92, 93, 94, 95, 96, 9700])
    cycle(world, day(8))
    store = StateDirectory(world.folder / "state").hold()
    bars = store.open("bars")
    assert Quality(bars).believe("1d", "BTC-USD")
    bars.close()
    store.release()
    [event] = cycle(world, day(8)).events
    assert event.ts == day(7)


def test_bars_in_pence_among_good_ones_are_left_out(world):
    told(world, [90, 91, 92, 93, 94, 95, 96], 7)
    world.write_bars([90, 91, 92, 93, 94, 95, 96, 9700, 98])
    receipt = cycle(world, day(9))
    assert [event.kind for event in receipt.events] == [EventKind.GAP]
    assert cycle(world, day(9, 1)).events == []
    world.write_bars([90, 91, 92, 93, 94, 95, 96, 101, 98])
    [event] = cycle(world, day(9)).events
    assert (event.kind, event.ts) == (EventKind.BECAME_TRUE, day(7))


def test_a_withdrawal_survives_a_kill_between_the_two_commits(world):
    told(world, [90, 91, 92, 93, 94, 95, 110], 7)
    world.write_bars([90, 91, 92, 93, 94, 95, 96])
    with world.parts() as parts:  # only the half that a kill leaves
        [watched] = parts.snapshot.watched
        parts.pipeline._intake.take_up(day(7), watched, ["BTC-USD"], {"BTC-USD": day(6)})
    [withdrawal] = cycle(world, day(7)).events
    assert withdrawal.kind is EventKind.WITHDRAWN
    assert cycle(world, day(7)).events == []
