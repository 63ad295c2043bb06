import contextlib
import copy
import shutil
from datetime import date, timedelta

import polars as pl
import pytest

from monitor.cli.bars import build, opened, provider_settings
from monitor.config.snapshot import load_snapshot
from monitor.core.bars import BAR_SCHEMA
from monitor.core.timeframe import TIMEFRAMES, parse_timeframe
from monitor.diagnosis import Gap, Silent, find_gaps, why_silent
from monitor.sessions import Sessions
from monitor.stores.quality import HOLES
from tests.providers.rest import BinanceApi, Said
from tests.test_revisions import cycle
from tests.worlds import CONFIG, WATCHLIST, World, day, weekend

MINUTE = timedelta(minutes=1)


def ask(world, now, symbol="BTC-USD", timeframe="1d"):
    snapshot = load_snapshot(world.config)
    with contextlib.ExitStack() as stack:
        providers = [build(snapshot, settings, stack) for settings in provider_settings(snapshot)]
        known = stack.enter_context(opened(snapshot, providers))
        return why_silent(known, snapshot.watched, symbol, parse_timeframe(timeframe), now)


def copied(world, folder):
    """A world of its own that has come as far."""
    shutil.copytree(world.folder, folder, dirs_exist_ok=True)
    twin = copy.copy(world)
    twin.folder, twin.config = folder, folder / "config.toml"
    return twin


@pytest.fixture(scope="module")
def five_days(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("five"))
    world.write_bars([90] * 5)
    cycle(world, day(5))
    return world


@pytest.fixture(scope="module")
def overtaken(five_days, tmp_path_factory):
    world = copied(five_days, tmp_path_factory.mktemp("overtaken"))
    world.config.write_text("hole_patience = 2\n" + world.config.read_text())
    world.write_bars([90] * 7, lacking=[5])
    cycle(world, day(7))
    return world


@pytest.fixture
def world(five_days, tmp_path):
    """A world that has had its first five days, and is asked for a sixth."""
    return copied(five_days, tmp_path)


@pytest.fixture
def patient(overtaken, tmp_path):
    """The sixth bar has not come though the seventh has; its checks wait for it for two sessions."""
    return copied(overtaken, tmp_path)


@pytest.fixture
def binance(tmp_path):
    """A world whose provider is an API that has three days of BTC-USD, asked once."""
    with BinanceApi(day(3)) as api:
        world = World(tmp_path, config=CONFIG + f'[provider]\nkind = "binance"\nurl = "{api.url}"\n')
        api.give("BTCUSDT", "1d", [(day(i), 90, 90, 90, 90, 1) for i in range(3)])
        cycle(world, day(3))
        yield world, api


def banned(binance):
    """The same, after the API has asked on the fourth day to be left alone."""
    world, api = binance
    api.now = day(4)
    api.faults.append(Said(429, {"code": -1003, "msg": "Too many requests"}))
    cycle(world, day(4))
    return world


def test_a_symbol_that_nobody_watches_is_told_with_the_nearest(world):
    found = ask(world, day(5), "btc-usdt")
    assert (found.reason, found.line) == (Silent.NOT_WATCHED, "btc-usdt 1d: not watched; did you mean BTC-USD?")


def test_a_symbol_watched_at_another_timeframe_is_told_with_it(world):
    assert ask(world, day(5), timeframe="1h").text == "not watched; BTC-USD is watched at 1d"


def test_a_symbol_that_is_like_no_other_is_told_with_those_there_are(world):
    assert ask(world, day(5), "7203.T").text == "not watched; watched are BTC-USD"


def test_a_symbol_added_since_the_last_poll_has_not_been_asked_for(world):
    world.write_watchlist(WATCHLIST.replace('"BTC-USD"', '"ETH-USD"'))
    found = ask(world, day(5), "ETH-USD")
    assert (found.reason, found.text[:41]) == (Silent.NO_BARS, "no data: it has not been asked for yet: `")


def test_a_symbol_that_the_provider_does_not_know_has_the_providers_words(world):
    world.write_watchlist(WATCHLIST.replace('"BTC-USD"', '"NOPE"'))
    cycle(world, day(6))
    found = ask(world, day(8), "NOPE")
    assert (found.reason, found.since) == (Silent.NO_BARS, day(6))
    assert found.text.startswith("no data: no 1d bars of NOPE: neither NOPE.csv nor NOPE.parquet is in ")
    assert found.text.endswith("; since 2026-01-07 00:00 UTC")


def test_a_provider_that_asked_to_be_left_alone_is_told_with_until_when(binance):
    found = ask(banned(binance), day(4) + MINUTE)
    assert (found.reason, found.since, found.until) == (Silent.RESTING, day(4), day(4) + 15 * MINUTE)
    assert found.text.startswith(
        "provider binance is down since 2026-01-05 00:00 UTC and not asked before 2026-01-05 00:15 UTC: "
    )
    assert "Too many requests" in found.text


def test_a_provider_whose_rest_is_over_is_asked_at_the_next_poll(binance):
    assert "and asked again at the next poll: " in ask(banned(binance), day(4) + 15 * MINUTE).text


def test_a_provider_that_answers_again_is_not_down(binance):
    world = banned(binance)
    binance[1].give("BTCUSDT", "1d", [(day(i), 90, 90, 90, 90, 1) for i in range(4)])
    cycle(world, day(4) + 15 * MINUTE)
    assert ask(world, day(4) + 16 * MINUTE).reason is Silent.FORMING


def test_a_new_symbol_of_a_provider_that_is_down_has_no_data_for_that_reason(binance):
    world = banned(binance)
    world.write_watchlist(WATCHLIST.replace('"BTC-USD"', '"ETH-USD"'))
    found = ask(world, day(4) + MINUTE, "ETH-USD")
    assert found.reason is Silent.NO_BARS
    assert found.text.startswith("no data: provider binance is down since 2026-01-05 00:00 UTC and not asked before ")


def test_a_new_symbol_is_not_held_up_by_a_provider_whose_fallback_is_well(binance):
    world = banned(binance)
    world.write_watchlist(WATCHLIST.replace('"BTC-USD"', '"ETH-USD"'))
    world.config.write_text(world.config.read_text() + '[fallback]\nkind = "files"\n')
    assert "it has not been asked for yet" in ask(world, day(4) + MINUTE, "ETH-USD").text


def test_a_series_waits_for_its_own_provider_although_another_is_well(binance):
    world = banned(binance)
    world.config.write_text(world.config.read_text() + '[fallback]\nkind = "files"\n')
    assert ask(world, day(4) + MINUTE).reason is Silent.RESTING


def test_a_quarantine_is_told_with_its_reason_and_not_as_a_late_bar(world):
    world.write_bars([90] * 5 + [9000])
    cycle(world, day(6))
    found = ask(world, day(9))
    assert (found.reason, found.since) == (Silent.QUARANTINED, day(6))
    assert found.text.startswith("in quarantine since 2026-01-07 00:00 UTC: 2026-01-06: 9000 after 90")


def test_a_provider_that_is_down_comes_before_a_quarantine(binance):
    world, api = binance
    api.give("BTCUSDT", "1d", [(day(i), 90, 90, 90, 90, 1) for i in range(3)] + [(day(3), 1, 1, 0.9, 0.9, 1)])
    api.now = day(4)
    cycle(world, day(4))
    assert ask(world, day(4)).reason is Silent.QUARANTINED
    assert ask(banned(binance), day(4)).reason is Silent.RESTING


def test_a_hole_is_told_with_the_bar_and_how_long_it_is_waited_for(patient):
    found = ask(patient, day(7))
    assert (found.reason, found.since, found.until) == (Silent.HOLE, day(6), day(8))
    assert found.text == (
        "waits for the bar of 2026-01-06, which later ones have overtaken, until 2026-01-09 00:00 UTC, "
        "then its checks go on without it"
    )


def test_a_hole_whose_patience_is_over_is_passed_at_the_next_poll(patient):
    assert ask(patient, day(8)).text.endswith("overtaken, and goes on without it at the next poll")


def test_a_hole_that_is_waited_for_for_ever_says_so(patient):
    patient.config.write_text('on_hole = "wait"\n' + patient.config.read_text())
    found = ask(patient, day(9))
    assert found.until is None
    assert found.text.endswith("overtaken, for as long as it takes")


def test_a_late_bar_that_polls_do_not_find_is_told_with_the_newest(world):
    cycle(world, day(6))
    found = ask(world, day(6, 1))
    assert (found.reason, found.since) == (Silent.LATE, day(6))
    assert found.text == (
        "late since 2026-01-07 00:00 UTC: the bar of 2026-01-06 did not come; polls find nothing newer than 2026-01-05"
    )


def test_several_late_bars_are_told_from_the_first_on(world):
    found = ask(world, day(8))
    assert found.text == (
        "late since 2026-01-07 00:00 UTC: the bar of 2026-01-06 and 2 more did not come; "
        "no poll was completed since then (is `barwatch run` running?)"
    )


def test_a_late_bar_has_the_last_words_of_the_provider(world):
    (world.folder / "bars" / "1d" / "BTC-USD.csv").unlink()
    cycle(world, day(6))
    assert "did not come; no 1d bars of BTC-USD: neither BTC-USD.csv nor " in ask(world, day(6)).text


def test_a_bar_is_late_from_the_end_of_the_grace_time_on(world):
    world.config.write_text(world.config.read_text().replace("daily = 0", "daily = 1800"))
    found = ask(world, day(6) + 30 * MINUTE)
    assert (found.reason, found.since) == (Silent.LATE, day(6) + 30 * MINUTE)


def test_polls_that_fail_while_no_bar_is_late_are_told(world):
    (world.folder / "bars" / "1d" / "BTC-USD.csv").unlink()
    cycle(world, day(5, 1))
    found = ask(world, day(5, 2))
    assert (found.reason, found.since) == (Silent.FAILED, day(5, 1))
    assert found.text.startswith("polls fail since 2026-01-06 01:00 UTC: no 1d bars of BTC-USD: ")


def test_a_bar_that_is_forming_is_told_with_its_close_and_when_it_is_due(world):
    world.config.write_text(world.config.read_text().replace("daily = 0", "daily = 1830"))
    found = ask(world, day(5, 3))
    assert (found.reason, found.until, found.due) == (Silent.FORMING, day(6), day(6) + timedelta(seconds=1830))
    assert found.text == (
        "up to date, next bar due 2026-01-07 00:30:30 UTC: it is forming and closes 2026-01-07 00:00 UTC"
    )


def test_a_bar_that_has_closed_and_is_not_due_yet_is_not_late(world):
    world.config.write_text(world.config.read_text().replace("daily = 0", "daily = 1800"))
    found = ask(world, day(6) + 10 * MINUTE)
    assert found.reason is Silent.FORMING
    assert found.text == "up to date, next bar due 2026-01-07 00:30 UTC: it closed 2026-01-07 00:00 UTC"


@pytest.fixture(scope="module")
def new_york(tmp_path_factory):
    """A world of New York that has its bars up to Friday, 9 January."""
    world = World(tmp_path_factory.mktemp("york"), WATCHLIST.replace("24/7", "XNYS"))
    world.write_bars([90] * 9, lacking=[0, *weekend(9)])
    cycle(world, day(9))
    return world


def test_a_market_that_is_closed_is_told_with_when_it_opens_and_the_next_bar(new_york):
    found = ask(new_york, day(9, 12))
    assert (found.reason, found.until, found.due) == (Silent.CLOSED, day(11, 14) + 30 * MINUTE, day(11, 21))
    assert found.line == (
        "BTC-USD 1d: up to date, next bar due 2026-01-12 21:00 UTC: XNYS is closed until 2026-01-12 14:30 UTC"
    )


def test_a_market_that_is_open_is_not_told_as_closed(new_york):
    assert ask(new_york, day(11, 15)).reason is Silent.FORMING


def test_a_bar_is_due_later_where_its_provider_is_late(tmp_path):
    world = World(tmp_path, WATCHLIST.replace("24/7", "FX"))
    world.write_bars([90] * 9, lacking=[0, *weekend(9)])
    cycle(world, day(9))
    world.config.write_text(world.config.read_text() + '[provider]\nkind = "twelvedata"\nkey = "any"\n')
    found = ask(world, day(9, 12))  # a Saturday; Twelve Data is an hour late with days of currencies
    assert (found.until, found.due) == (day(10, 22), day(12, 1))


@pytest.fixture(scope="module")
def sessions():
    return Sessions("XNYS", date(2025, 12, 1), date(2026, 3, 1))


def gaps(sessions, days, holes=(), timeframe="1d"):
    """What a history with bars on these days of January 2026 lacks."""
    labels = pl.Series("ts", [day(number - 1) for number in days], BAR_SCHEMA["ts"])
    history = pl.DataFrame([labels], schema={"ts": BAR_SCHEMA["ts"]})
    recorded = [("ACME", day(number - 1), day(number), state) for number, state in holes]
    return find_gaps(history, pl.DataFrame(recorded, HOLES, orient="row"), TIMEFRAMES[timeframe], sessions)


def test_bars_missing_on_both_sides_of_a_weekend_are_one_gap(sessions):
    found = gaps(sessions, [7, 8, 13])
    assert found.ranges == (Gap(day(8), day(11), 2, "unrecorded"),)
    assert (found.expected, found.came, found.beside) == (5, 3, 0)


def test_a_gap_has_the_state_that_was_recorded_and_the_newest_is_first(sessions):
    found = gaps(sessions, [5, 9], [(6, "pending"), (7, "skipped"), (8, "skipped")])
    assert found.ranges == (Gap(day(6), day(7), 2, "skipped"), Gap(day(5), day(5), 1, "pending"))


def test_a_hole_that_was_filled_is_shown_and_lacks_nothing(sessions):
    found = gaps(sessions, [5, 6, 7], [(6, "filled")])
    assert (found.ranges, found.expected, found.came) == ((Gap(day(5), day(5), 1, "filled"),), 3, 3)


def test_bars_that_the_calendar_does_not_have_are_counted(sessions):
    assert gaps(sessions, [9, 10, 11, 12]).beside == 2


def test_bars_of_other_hours_than_the_calendars_are_not_on_its_grid(sessions):
    assert gaps(sessions, [5, 6, 7]).on_the_grid
    assert not gaps(sessions, [5, 6, 7], timeframe="1h").on_the_grid


def test_without_bars_nothing_is_lacking(sessions):
    assert gaps(sessions, []).expected == 0
