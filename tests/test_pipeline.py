import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.events import EventKind
from monitor.stores.database import StateDirectory
from monitor.stores.history import History
from tests.worlds import WATCHLIST, World, day

MANY = (
    WATCHLIST
    + """
confirm = 2
rearm = 2
cooldown = "2 bars"

[[checks]]
name = "trend"
rule = "trend"
early_warning = true

[[checks]]
name = "average"
when = "close > sma(close, 2)"
trigger = "change"
"""
)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def cycle(world, now):
    with world.parts() as parts:
        [watched] = parts.snapshot.watched
        return parts.pipeline.run_cycle(now, watched, watched.markets)


def tables(world):
    """Everything that is stored, but for when it was."""
    databases = {kind: StateDirectory(world.folder / "state").open(kind) for kind in ("bars", "state")}
    names = {"bars": ["bars"], "state": ["cursors", "trend_states", "check_states", "events", "deliveries"]}
    moments = {"committed_at", "created_at", "updated_at", "not_before"}
    stored = {
        table: [
            {name: value for name, value in row.items() if name not in moments}
            for row in databases[kind].records(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
        ]
        for kind, tables in names.items()
        for table in tables
    }
    for database in databases.values():
        database.close()
    return stored


def test_the_first_cycle_arms_the_checks_and_tells_nothing_of_the_past(world):
    world.write_bars([90, 110, 90])
    receipt = cycle(world, day(3))
    assert receipt.evaluated == ["BTC-USD"]
    assert receipt.bars == 3
    assert receipt.events == []


def test_a_bar_that_closed_since_is_evaluated_and_told(world):
    world.write_bars([90])
    cycle(world, day(1))
    world.write_bars([90, 110])
    receipt = cycle(world, day(2))
    assert [event.ts for event in receipt.events] == [day(1)]
    assert receipt.told == 1


def test_a_bar_that_has_not_closed_is_not_used(world):
    world.write_bars([90])
    cycle(world, day(1))
    world.write_bars([90, 110])
    receipt = cycle(world, day(1, 23))
    assert receipt.bars == 0
    assert receipt.events == []


def test_a_bar_still_forming_when_its_file_was_written_is_never_used(world):
    world.write_bars([90, 110])
    written = day(1, 12).timestamp()
    os.utime(world.folder / "bars" / "1d" / "BTC-USD.csv", (written, written))
    receipt = cycle(world, day(5))
    assert receipt.bars == 1
    assert "has not come yet" in receipt.missing["BTC-USD"]


def test_a_bar_is_left_alone_for_the_grace_time(world):
    world.config.write_text(world.config.read_text().replace("daily = 0", "daily = 1800"))
    world.write_bars([90])
    assert cycle(world, day(1)).bars == 0
    assert cycle(world, day(1, 1)).bars == 1


def test_a_bar_written_right_after_its_close_is_used_when_the_grace_time_is_over(world):
    world.config.write_text(world.config.read_text().replace("daily = 0", "daily = 1800"))
    world.write_bars([90])
    written = day(1).timestamp() + 1
    os.utime(world.folder / "bars" / "1d" / "BTC-USD.csv", (written, written))
    assert cycle(world, day(2)).bars == 1


def test_the_same_cycle_twice_changes_nothing(world):
    world.write_bars([90])
    cycle(world, day(1))
    world.write_bars([90, 110, 90, 120])
    cycle(world, day(4))
    before = tables(world)
    again = cycle(world, day(4))
    assert again.evaluated == []
    assert tables(world) == before


def test_missed_bars_are_taken_up_in_order_as_if_they_had_come_one_by_one(tmp_path):
    closes = [90, 110, 90, 90, 120, 130, 80, 140]
    stored = []
    for name, steps in {"one": range(1, 9), "all": (1, 8)}.items():
        (tmp_path / name).mkdir()
        world = World(tmp_path / name)
        for step in steps:
            world.write_bars(closes[:step])
            cycle(world, day(step))
        stored.append(tables(world))
    assert len(stored[0]["events"]) == 3
    assert stored[0] == stored[1]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from([80.0, 90.0, 110.0, 120.0]), min_size=3, max_size=12), st.data())
def test_any_batches_with_restarts_between_store_what_bar_by_bar_does(closes, data):
    last = len(closes)
    cuts = sorted({1, last, *data.draw(st.lists(st.integers(2, last), max_size=4))})
    stored = []
    for steps in (range(1, last + 1), cuts):
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder), MANY)
            for step in steps:
                world.write_bars(closes[:step])
                cycle(world, day(step))
            stored.append(tables(world))
    assert stored[0] == stored[1]


def test_a_symbol_without_a_file_is_named_and_hides_no_other(world):
    world.write_watchlist(WATCHLIST.replace('["BTC-USD"]', '["BTC-USD", "ETH-USD"]'))
    world.write_bars([90])
    receipt = cycle(world, day(1))
    assert receipt.evaluated == ["BTC-USD"]
    assert "ETH-USD" in receipt.missing


def test_a_file_with_a_bad_row_is_named_by_line_and_nothing_of_it_is_used(world):
    world.write_bars([90])
    cycle(world, day(1))
    path = world.folder / "bars" / "1d" / "BTC-USD.csv"
    path.write_text(path.read_text() + "2026-01-02,1,1,2,1,1\n")
    receipt = cycle(world, day(2))
    assert receipt.bars == 0
    assert "BTC-USD.csv" in receipt.missing["BTC-USD"]
    assert "line 3" in receipt.missing["BTC-USD"]
    world.write_bars([90, 110])
    assert len(cycle(world, day(2)).events) == 1


def test_a_rewritten_history_replaces_the_old_one_and_makes_no_event(world):
    world.write_bars([90.0, 92.0])
    cycle(world, day(2))
    world.write_bars([180.0, 184.0, 186.0])
    receipt = cycle(world, day(3))
    assert receipt.events == []
    assert [bar["close"] for bar in tables(world)["bars"]] == [180.0, 184.0, 186.0]


def test_the_bars_after_a_rewritten_history_are_judged_on_its_scale(world):
    world.write_bars([190.0, 192.0])
    cycle(world, day(2))
    world.write_bars([95.0, 96.0, 101.0])
    receipt = cycle(world, day(3))
    assert [event.ts for event in receipt.events] == [day(2)]


def test_after_a_downtime_longer_than_the_source_reaches_back_the_gap_is_told_and_the_checks_go_on(world):
    world.write_bars([90])
    cycle(world, day(1))
    path = world.folder / "bars" / "1d" / "BTC-USD.csv"
    path.write_text("Date,Open,High,Low,Close,Volume\n2026-01-09,110,110,110,110,1\n")
    gap, event = cycle(world, day(9)).events
    assert (gap.kind, gap.ts, gap.evidence) == (EventKind.GAP, day(7), {"bars": 7, "first": "2026-01-02 00:00 UTC"})
    assert (event.kind, event.ts) == (EventKind.BECAME_TRUE, day(8))


def test_the_cooldown_holds_an_event_and_stores_the_reason(world):
    world.write_watchlist(WATCHLIST + 'cooldown = "5 bars"\n')
    world.write_bars([90])
    cycle(world, day(1))
    world.write_bars([90, 110, 90, 110, 90, 90, 110])
    receipt = cycle(world, day(7))
    assert (len(receipt.events), receipt.told, receipt.held) == (3, 2, 1)
    state = StateDirectory(world.folder / "state").open("state")
    [held] = History(state).deliveries(state="suppressed")
    state.close()
    assert (held["ts"], held["reason"], held["detail"]) == (day(3), "cooldown", "told 2 bars ago, quiet for 5 bars")


def test_the_cooldown_is_the_same_when_the_bars_come_one_by_one(world):
    world.write_watchlist(WATCHLIST + 'cooldown = "3d"\n')
    closes = [90, 110, 90, 110, 90, 110, 90]
    told = []
    for known in range(1, 8):
        world.write_bars(closes[:known])
        told.append(cycle(world, day(known)).told)
    assert told == [0, 1, 0, 0, 0, 1, 0]


def test_an_edited_check_starts_fresh_and_a_renamed_one_goes_on(world):
    world.write_bars([90, 110])
    cycle(world, day(2))
    armed = {row["armed_from"] for row in tables(world)["check_states"]}
    world.write_watchlist(WATCHLIST.replace('name = "high"', 'name = "renamed"'))
    world.write_bars([90, 110, 90])
    cycle(world, day(3))
    assert {row["armed_from"] for row in tables(world)["check_states"]} == armed
    world.write_watchlist(WATCHLIST.replace("close > 100", "close > 101"))
    cycle(world, day(3))
    assert {row["armed_from"] for row in tables(world)["check_states"]}.isdisjoint(armed)


@pytest.mark.parametrize(("when", "known"), [("close > prev(close, 1)", 6), ('trend == "bullish"', 7)])
def test_a_check_added_between_two_bars_knows_its_value_at_the_bar_it_is_armed_from(world, when, known):
    closes = [90, 91, 92, 91, 90, 89, 90, 91, 92]
    world.write_bars(closes[:known])
    cycle(world, day(known))
    world.write_watchlist(WATCHLIST.replace('"close > 100"', f"'{when}'"))
    assert cycle(world, day(known)).events == []
    world.write_bars(closes)
    [event] = cycle(world, day(9)).events
    assert event.ts == day(known)


def test_an_event_without_channels_is_recorded_and_told_to_nobody(world):
    world.write_watchlist(WATCHLIST.replace('["file"]', "[]"))
    world.write_bars([90])
    cycle(world, day(1))
    world.write_bars([90, 110])
    receipt = cycle(world, day(2))
    assert (len(receipt.events), receipt.told, receipt.held) == (1, 0, 0)


def test_one_check_in_two_watchlists_is_one_event_told_once_on_a_channel(world):
    (world.folder / "watchlists" / "other.toml").write_text(WATCHLIST.replace('"high"', '"tall"'))
    world.write_bars([90])
    cycle(world, day(1))
    world.write_bars([90, 110])
    receipt = cycle(world, day(2))
    assert (len(receipt.events), receipt.told) == (1, 1)


def test_the_trend_goes_on_from_the_stored_machine(world):
    world.write_watchlist(WATCHLIST.replace('when = "close > 100"', 'rule = "trend"'))
    closes = [90, 91, 92, 92, 91, 90, 89]
    kinds = []
    for known in range(1, 8):
        world.write_bars(closes[:known])
        kinds += [event.kind.value for event in cycle(world, day(known)).events]
    assert kinds == ["trend_started", "trend_reversed"]


def test_a_changed_method_reads_the_whole_history_again(world):
    world.write_watchlist(WATCHLIST.replace('when = "close > 100"', 'rule = "trend"'))
    world.write_bars([90, 91, 92])
    cycle(world, day(3))
    world.config.write_text(world.config.read_text() + "\n[method]\nconfirmation = 1\n")
    world.write_bars([90, 91, 92, 91])
    assert cycle(world, day(4)).events == []
    world.write_bars([90, 91, 92, 91, 93])
    [event] = cycle(world, day(5)).events
    assert event.evidence == {"previous": "bearish", "state": "bullish", "run": 1}


def trim(world, first):
    """Leave only the newest bars in the file, as a download of a rolling window has them."""
    path = world.folder / "bars" / "1d" / "BTC-USD.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *rows[first:]]) + "\n")


def closes_stored(world):
    return [bar["close"] for bar in tables(world)["bars"]]


def test_a_correction_in_a_rolling_window_leaves_the_older_bars_alone(world):
    world.write_bars([90, 91, 92, 93, 94, 95])
    cycle(world, day(6))
    world.write_bars([90, 91, 92, 93, 94, 95.5, 96])
    trim(world, 3)
    receipt = cycle(world, day(7))
    assert receipt.rewritten == ["BTC-USD"]
    assert closes_stored(world) == [90, 91, 92, 93, 94, 95.5, 96]


def test_a_new_scale_in_a_rolling_window_is_given_to_the_older_bars_too(world):
    world.write_bars([80, 82, 84, 86, 88, 90])
    cycle(world, day(6))
    world.write_bars([40, 41, 42, 43, 44, 45, 46])
    trim(world, 3)
    assert cycle(world, day(7)).events == []
    assert closes_stored(world) == [40, 41, 42, 43, 44, 45, 46]


def test_a_changed_history_that_ends_too_early_is_refused_and_nothing_is_lost(world):
    world.write_bars([90, 91, 92, 93])
    cycle(world, day(4))
    world.write_bars([45, 45.5])
    receipt = cycle(world, day(4))
    assert "ends before the newest stored bar" in receipt.missing["BTC-USD"]
    assert closes_stored(world) == [90, 91, 92, 93]


def test_a_bar_that_comes_late_is_taken_up_in_its_place_and_told_in_the_receipt(world):
    world.write_watchlist(WATCHLIST.replace('when = "close > 100"', 'rule = "trend"'))
    whole = [90, 91, 92, 91, 90]
    world.write_bars(whole)
    path = world.folder / "bars" / "1d" / "BTC-USD.csv"
    rows = path.read_text().splitlines()
    path.write_text("\n".join(rows[:4] + rows[5:]) + "\n")
    cycle(world, day(5))
    world.write_bars(whole)
    receipt = cycle(world, day(5))
    assert (receipt.rewritten, receipt.events) == (["BTC-USD"], [])
    assert closes_stored(world) == whole
    [machine] = tables(world)["trend_states"]
    assert (machine["state"], machine["kind"], machine["run"]) == (-1, -1, 2)


def test_a_rewritten_history_goes_on_counting_where_it_was(world):
    world.write_watchlist(WATCHLIST + "confirm = 3\n")
    closes = [90, 90, 110, 111, 112]
    world.write_bars(closes[:4])
    for known in range(1, 5):
        cycle(world, day(known))
    world.write_bars([close * 1.0001 for close in closes])
    receipt = cycle(world, day(5))
    assert receipt.rewritten == ["BTC-USD"]
    assert [event.ts for event in receipt.events] == [day(4)]


def test_the_method_can_be_changed_and_changed_back(world):
    world.write_watchlist(WATCHLIST.replace('when = "close > 100"', 'rule = "trend"'))
    closes = [90, 91, 92, 91, 90, 91, 92]
    plain = world.config.read_text()
    kinds = []
    for known in range(3, 8):
        quick = "\n[method]\nconfirmation = 1\n" if known in (4, 5) else ""
        world.config.write_text(plain + quick)
        world.write_bars(closes[:known])
        kinds += [(known, event.kind.value) for event in cycle(world, day(known)).events]
    assert (7, "trend_reversed") in kinds


def test_an_early_warning_does_not_hold_the_reversal_back(world):
    world.write_watchlist(
        WATCHLIST.replace('when = "close > 100"', 'rule = "trend"\nearly_warning = true\ncooldown = "9 bars"')
    )
    world.write_bars([90])
    cycle(world, day(1))
    world.write_bars([90, 91, 92, 91, 90])
    receipt = cycle(world, day(5))
    assert [event.kind.value for event in receipt.events] == ["trend_started", "early_warning", "trend_reversed"]
    assert (receipt.told, receipt.held) == (2, 1)


def test_a_condition_with_a_long_memory_finds_one_by_one_what_it_finds_at_once(tmp_path):
    closes = [105 if i // 4 % 2 else 95 for i in range(60)]
    stored = []
    for name, steps in {"one": range(1, 61), "all": (1, 60)}.items():
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, WATCHLIST.replace("close > 100", "close > sma(close, 30)"))
        for step in steps:
            world.write_bars(closes[:step])
            cycle(world, day(step))
        stored.append(tables(world)["events"])
    assert len(stored[0]) > 2
    assert stored[0] == stored[1]
