import pytest

from monitor.core.events import EventKind
from tests.test_revisions import cycle, stored
from tests.test_sources import daily, running
from tests.worlds import WATCHLIST, World, day, weekend


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def patient(tmp_path):
    """A world that waits for two sessions."""
    world = World(tmp_path)
    world.config.write_text("hole_patience = 2\n" + world.config.read_text())
    world.write_bars([90] * 5)
    cycle(world, day(5))
    return world


def test_checks_wait_at_a_hole_and_the_receipt_says_for_which_bar(patient):
    patient.write_bars([90] * 6 + [110], lacking=[5])
    receipt = cycle(patient, day(7))
    assert receipt.events == []
    assert "the bar of 2026-01-06 00:00 UTC has not come though a later one has" in receipt.missing["BTC-USD"]


def test_a_hole_that_is_filled_in_time_is_evaluated_in_order(patient):
    patient.write_bars([90] * 5 + [110, 90], lacking=[5])
    cycle(patient, day(7))
    patient.write_bars([90] * 5 + [110, 90])
    [event] = cycle(patient, day(7, 1)).events
    assert (event.kind, event.ts, "late" in event.evidence) == (EventKind.BECAME_TRUE, day(5), False)


def test_when_the_patience_is_over_the_watchers_are_told_and_the_checks_go_on(patient):
    patient.write_bars([90] * 6 + [110, 90], lacking=[5])
    gap, event = cycle(patient, day(8)).events
    assert (gap.kind, gap.ts) == (EventKind.GAP, day(5))
    assert (event.kind, event.ts) == (EventKind.BECAME_TRUE, day(6))
    assert [delivery["reason"] for delivery in stored(patient)[1]] == ["notice", "tell"]


def test_the_gap_is_told_once(patient):
    patient.write_bars([90] * 8, lacking=[5])
    cycle(patient, day(8))
    patient.write_bars([90] * 9, lacking=[5])
    assert cycle(patient, day(9)).events == []


def test_a_bar_that_comes_days_later_is_evaluated_as_of_its_day_and_told_late(patient):
    closes = [90] * 5 + [110] + [90] * 6
    for known in (8, 10):
        patient.write_bars(closes[:known], lacking=[5])
        cycle(patient, day(known))
    patient.write_bars(closes)
    [event] = cycle(patient, day(12)).events
    assert (event.kind, event.ts) == (EventKind.BECAME_TRUE, day(5))
    assert event.evidence["late"] == "the bar of 2026-01-06 00:00 UTC came after later ones"


def test_one_who_wants_to_wait_for_ever_does(patient):
    patient.config.write_text('on_hole = "wait"\n' + patient.config.read_text())
    patient.write_bars([90] * 12, lacking=[5])
    assert "its checks wait for it" in cycle(patient, day(12)).missing["BTC-USD"]


def test_what_is_waited_for_is_asked_for_however_late_it_comes(patient):
    patient.config.write_text('on_hole = "wait"\n' + patient.config.read_text())
    for known in (7, 20):
        patient.write_bars([90] * known, lacking=[5])
        cycle(patient, day(known))
    patient.write_bars([90] * 5 + [110] + [90] * 15)
    assert [event.ts for event in cycle(patient, day(21)).events] == [day(5)]


def test_what_is_waited_for_is_had_from_another_provider(world):
    world.config.write_text('on_hole = "wait"\n' + world.config.read_text())
    first, second = daily("first", [90] * 12, {5}), daily("second", [90] * 5 + [110] + [90] * 6)
    with running(world, first, second) as run:
        run(day(5))
        assert [event.ts for event in run(day(7)).events] == [day(5)]


def test_a_hole_after_a_long_one_is_told_as_well(world):
    closes, lacking = [90] * 113, [*range(100, 106), 110]
    for known in (100, 107, 109, 112):
        world.write_bars(closes[:known], lacking=lacking)
        receipt = cycle(world, day(known))
    assert [(event.kind, event.ts) for event in receipt.events] == [(EventKind.GAP, day(110))]


def test_a_symbol_that_lacks_bars_all_the_time_is_not_waited_for(world):
    closes = [90] * 40
    lacking = range(3, 40, 4)
    world.write_bars(closes, lacking=[*lacking])
    cycle(world, day(40))
    world.write_bars([*closes, 90, 90, 110], lacking=[*lacking, 41])
    [event] = cycle(world, day(43)).events
    assert event.ts == day(42)


def test_a_market_that_is_closed_makes_no_hole(tmp_path):
    world = World(tmp_path, WATCHLIST.replace("24/7", "XNYS"))
    shut = weekend(30)
    world.write_bars([90] * 19, lacking=[0, *shut])  # 1 January, and 19 January is Martin Luther King's day
    cycle(world, day(20))
    world.write_bars([90] * 20 + [110], lacking=[0, 18, *shut])
    assert [event.ts for event in cycle(world, day(22)).events] == [day(20)]
