import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from monitor.cli.doctor import Examination, examine
from monitor.config.snapshot import load_snapshot
from monitor.core.bars import RAW_SCHEMA
from monitor.ports import Fetched
from tests.providers.rest import BinanceApi, Said
from tests.test_diagnosis import copied
from tests.test_revisions import cycle
from tests.worlds import CONFIG, WATCHLIST, World, day


def findings(world, now, *, offline=False):
    return {finding.check: finding for finding in examine(world.config, lambda: now, offline=offline)}


@pytest.fixture(scope="module")
def seven_days(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("seven"))
    world.write_bars([90] * 5)
    cycle(world, day(5))
    world.write_bars([90, 90, 90, 95, 90, 90, 90], lacking=[5])
    cycle(world, day(7))
    return world


@pytest.fixture
def told(seven_days, tmp_path):
    """A world with a correction on the fourth of January and a hole on the sixth, as of the eighth."""
    return copied(seven_days, tmp_path)


@pytest.fixture
def binance(tmp_path):
    """A world whose provider is an API that has three days of BTC-USD, asked once."""
    with BinanceApi(day(3)) as api:
        world = World(tmp_path, config=CONFIG + f'[provider]\nkind = "binance"\nurl = "{api.url}"\n')
        api.give("BTCUSDT", "1d", [(day(i), 90, 90, 90, 90, 1) for i in range(3)])
        cycle(world, day(3))
        yield world, api


class Clock:
    """A provider that has a clock of its own and no bars."""

    name, native, batch, scarce = "clock", ("1d",), 1, False

    def __init__(self, told_at):
        self._told_at = told_at

    def fetch(self, since, timeframe, now):
        return Fetched(pl.DataFrame(schema=RAW_SCHEMA), dict.fromkeys(since, now), told_at=self._told_at)


def clock_compared(world, now, told_at):
    examination = Examination(load_snapshot(world.config), None, lambda: now, offline=False)
    [found] = [finding for finding in examination.findings([Clock(told_at)]) if finding.check == "clock"]
    return found.state, found.found


def test_bars_begins_with_where_the_series_stands(barwatch, told):
    result = barwatch("bars", "BTC-USD", "1d", "--at", "2026-01-08", "--config", told.config)
    assert result.code == 0
    assert result.out.splitlines()[:6] == [
        "BTC-USD 1d: up to date, next bar due 2026-01-09 00:00 UTC: it is forming and closes 2026-01-09 00:00 UTC",
        "",
        "provider   files, since 2026-01-06 00:00 UTC",
        "market     24/7",
        "bars       6, from 2026-01-01 to 2026-01-07",
        "gaps       1 of 7 bars that 24/7 expects are not stored",
    ]


def test_bars_shows_the_newest_bars_the_gaps_and_what_was_revised(barwatch, told):
    found = barwatch("bars", "BTC-USD", "1d", "--limit", 2, "--config", told.config, "--json").json
    assert [bar["ts"][:10] for bar in found["newest"]] == ["2026-01-07", "2026-01-05"]
    [gap] = found["gaps"]
    assert (gap["first"][:10], gap["bars"], gap["state"]) == ("2026-01-06", 1, "skipped")
    [revision] = found["revisions"]
    assert (revision["kind"], revision["before"]["close"], revision["after"]["close"]) == ("corrected", 90, 95)
    out = barwatch("bars", "BTC-USD", "1d", "--config", told.config).out
    assert "open 90 → 95, high 90 → 95, low 90 → 95, close 90 → 95" in out
    assert "2026-01-06   2026-01-06   1      skipped" in out


def test_bars_of_a_replay_are_as_of_the_time_that_is_given(barwatch, world):
    world.config.write_text(CONFIG + '\n[provider]\nkind = "replay"\n')
    world.write_bars([90, 110, 120])
    barwatch("once", "--config", world.config, "--at", "2026-01-03")
    lines = [
        barwatch("bars", "BTC-USD", "1d", "--at", at, "--config", world.config).out.splitlines()
        for at in ("2026-01-03T12:00", "2026-01-05")
    ]
    assert [line[0][:36] for line in lines] == [
        "BTC-USD 1d: up to date, next bar due", "BTC-USD 1d: late since 2026-01-04 00",
    ]  # fmt: skip
    assert lines[0][2] == "provider   replay, since 2026-01-03 00:00 UTC"


def test_bars_says_which_bars_are_in_quarantine_and_why(barwatch, told):
    told.write_bars([90, 90, 90, 95, 90, 90, 90, 9000])
    cycle(told, day(8))
    result = barwatch("bars", "BTC-USD", "1d", "--config", told.config)
    assert "quarantine  bars from 2026-01-08 on, since 2026-01-09 00:00 UTC: 2026-01-08: 9000 after 90" in result.out
    assert barwatch("bars", "BTC-USD", "1d", "--config", told.config, "--json").json["quarantine"]["ratio"] == 100


def test_bars_of_a_symbol_without_data_is_one_line(barwatch, told):
    told.write_watchlist(WATCHLIST.replace('"BTC-USD"', '"NOPE"'))
    result = barwatch("bars", "NOPE", "1d", "--config", told.config)
    assert result.out == ("NOPE 1d: no data: it has not been asked for yet: `barwatch run` and `barwatch once` do\n")


def test_bars_of_an_unwatched_symbol_names_the_nearest(barwatch, told):
    result = barwatch("bars", "BTC-USDT", "1d", "--config", told.config)
    assert (result.code, result.err) == (1, "error: BTC-USDT 1d: not watched; did you mean BTC-USD?\n")


def test_bars_before_anything_ran_says_what_to_run(barwatch, world):
    result = barwatch("bars", "BTC-USD", "1d", "--config", world.config)
    assert result.code == 1
    assert "there is no store" in result.err
    assert "barwatch once" in result.err


def test_bars_of_a_store_of_an_older_version_says_what_to_run(barwatch, told):
    with contextlib.closing(sqlite3.connect(told.folder / "state" / "bars.db")) as database:
        database.execute("PRAGMA user_version = 1")
    result = barwatch("bars", "BTC-USD", "1d", "--config", told.config)
    assert result.code == 1
    assert "was written by an older Barwatch (schema 1, this one has" in result.err


def test_bars_and_doctor_work_beside_the_process_that_writes(barwatch, told):
    with told.parts():
        assert barwatch("bars", "BTC-USD", "1d", "--config", told.config).code == 0
        found = barwatch("doctor", "--config", told.config, "--json").json
    assert {finding["check"]: finding["state"] for finding in found}["store"] == "ok"


def test_the_doctor_finds_nothing_where_all_is_well(world):
    world.write_bars([90] * 5)
    cycle(world, day(5))
    found = findings(world, day(5, 1))
    assert {finding.state for finding in found.values()} == {"ok"}
    assert [*found] == [
        "configuration", "store", "calendars", "provider", "clock", "data", "newest bars", "gaps",
        "quarantine",
    ]  # fmt: skip


def test_the_doctor_fails_on_a_symbol_without_data_and_goes_on(barwatch, told):
    told.write_watchlist(WATCHLIST.replace('"BTC-USD"', '"BTC-USD", "A", "B", "C", "D"'))
    cycle(told, day(8))
    result = barwatch("doctor", "--config", told.config)
    assert result.code == 1
    [line] = [line for line in result.out.splitlines() if line.split()[1] == "data"]
    assert line.startswith(
        "failed   data           4 of 5 series without data: A 1d, B 1d, C 1d and 1 more (of A 1d: no 1d"
    )
    [found] = [one for one in barwatch("doctor", "--config", told.config, "--json").json if one["check"] == "data"]
    assert [concern.partition(":")[0] for concern in found["concerns"]] == ["A 1d", "B 1d", "C 1d", "D 1d"]


def test_a_bar_that_has_just_become_late_is_a_warning_and_after_a_session_a_failure(told):
    found = [findings(told, now)["newest bars"] for now in (day(8, 1), day(9, 1))]
    assert [finding.state for finding in found] == ["warning", "failed"]
    assert found[0].found.startswith("1 of 1 series late or failing: BTC-USD 1d (late since 2026-01-09 00:00 UTC")


def test_a_series_is_not_late_because_its_provider_is_down(binance):
    world, api = binance
    api.faults.append(Said(429))
    cycle(world, day(3, 1))
    found = [findings(world, now, offline=True) for now in (day(3, 1), day(4, 1))]
    assert [each["provider"].state for each in found] == ["failed", "warning"]
    assert [each["newest bars"].state for each in found] == ["ok", "warning"]


def test_a_gap_is_a_warning_for_ten_sessions(told):
    found = [findings(told, now)["gaps"] for now in (day(7, 1), day(16, 1), day(17, 1))]
    assert [finding.state for finding in found] == ["warning", "warning", "ok"]
    assert found[0].concerns == ("BTC-USD 1d: 1 given up, from 2026-01-06",)


def test_a_bar_that_is_waited_for_is_a_warning(world):
    world.config.write_text("hole_patience = 9\n" + world.config.read_text())
    world.write_bars([90] * 5)
    cycle(world, day(5))
    world.write_bars([90] * 7, lacking=[5])
    cycle(world, day(7))
    found = findings(world, day(7))["gaps"]
    assert (found.state, found.concerns) == ("warning", ("BTC-USD 1d: 1 waited for, from 2026-01-06",))


def test_a_quarantine_is_a_warning_with_its_reason(told):
    told.write_bars([90, 90, 90, 95, 90, 90, 90, 9000])
    cycle(told, day(8))
    found = findings(told, day(8))["quarantine"]
    assert found.state == "warning"
    assert "BTC-USD 1d (since 2026-01-09 00:00 UTC: 2026-01-08: 9000 after 90" in found.found


def test_before_anything_ran_the_doctor_warns_of_the_store_and_fails_nothing(barwatch, world):
    world.write_bars([90])
    result = barwatch("doctor", "--config", world.config)
    assert result.code == 0
    assert "warning  store          there is no store in " in result.out
    assert not (world.folder / "state").exists()


def test_a_store_of_a_newer_version_is_a_failure(told):
    with contextlib.closing(sqlite3.connect(told.folder / "state" / "state.db")) as database:
        database.execute("PRAGMA user_version = 99")
    found = findings(told, day(7))
    assert found["store"].state == "failed"
    assert "written by a newer Barwatch" in found["store"].found
    assert "data" not in found


def test_a_configuration_that_cannot_be_read_is_the_only_finding(barwatch, world):
    world.write_watchlist("symbols = 3")
    result = barwatch("doctor", "--config", world.config, "--json")
    assert result.code == 1
    [found] = result.json
    assert (found["check"], found["state"]) == ("configuration", "failed")
    assert "test.toml" in found["found"]


def test_watchlists_that_ask_too_much_of_their_provider_are_a_failure(world):
    yahoo = CONFIG + '[provider]\nkind = "yahoo"\nrequests_per_second = '
    world.config.write_text(yahoo + "0.1")
    assert findings(world, day(5), offline=True)["polls"].found.startswith(
        "1 requests an hour while markets trade, of "
    )
    world.config.write_text(yahoo + "0.001")
    world.write_watchlist(WATCHLIST.replace('"1d"', '"1m"'))
    [found] = examine(world.config, lambda: day(5), offline=True)
    assert (found.state, found.found[:33]) == ("failed", "yahoo cannot be asked that often:")


def test_a_provider_that_cannot_be_set_up_is_a_failure(world):
    world.config.write_text(CONFIG + '[provider]\nkind = "twelvedata"\nkey_file = "nowhere"\n')
    found = findings(world, day(5))["provider"]
    assert found.state == "failed"
    assert "nowhere" in found.found


def test_a_calendar_that_ends_within_45_days_is_a_warning(world):
    world.write_watchlist(WATCHLIST.replace("24/7", "XHKG"))
    before, after = (findings(world, now, offline=True)["calendars"] for now in (_at(2049, 11), _at(2049, 12)))
    assert (before.state, after.state) == ("ok", "warning")
    assert "the calendar of XHKG ends on 2049-12-31" in after.found


def _at(year, month):
    return datetime(year, month, 1, tzinfo=UTC)


def test_the_doctor_asks_the_provider_and_keeps_nothing_of_the_answer(binance):
    world, api = binance
    api.give("BTCUSDT", "1d", [(day(i), 90, 90, 90, 90, 1) for i in range(4)])
    api.now = day(4)
    before = len(api.asked)
    found = findings(world, day(4))
    assert found["provider"].found.startswith("binance gave BTC-USD 1d in ")
    assert len(api.asked) == before + 1
    assert "the bar of 2026-01-04 did not come" in found["newest bars"].found


def test_a_provider_is_asked_for_a_symbol_that_it_is_known_to_have(binance):
    world, _ = binance
    world.write_watchlist(WATCHLIST.replace('"BTC-USD"', '"AAVE-USD", "BTC-USD"'))
    assert findings(world, day(3))["provider"].found.startswith("binance gave BTC-USD 1d in ")


def test_offline_no_provider_is_asked(binance):
    world, api = binance
    before = len(api.asked)
    found = findings(world, day(3), offline=True)["provider"]
    assert (found.state, len(api.asked)) == ("ok", before)
    assert found.found == "binance last answered 2026-01-04 00:00 UTC; not asked now (--offline)"


def test_a_provider_that_does_not_answer_is_a_failure_with_its_words(binance):
    world, api = binance
    api.faults.append(Said(503))
    found = findings(world, day(3))["provider"]
    assert found.state == "failed"
    assert "503" in found.found


def test_a_provider_that_does_not_know_the_symbol_answers_at_least(binance):
    world, _ = binance
    world.write_watchlist(WATCHLIST.replace('"BTC-USD"', '"DOGE-USD"'))
    found = findings(world, day(3))["provider"]
    assert (found.state, found.found) == ("warning", "Binance has no pair DOGEUSDT")


def test_a_provider_that_is_to_be_left_alone_is_not_asked(binance):
    world, api = binance
    api.faults.append(Said(429, {"code": -1003, "msg": "Too many requests"}))
    cycle(world, day(4))
    before = len(api.asked)
    found = findings(world, day(4, 0) + timedelta(minutes=1))["provider"]
    assert (found.state, len(api.asked)) == ("failed", before)
    assert found.found.startswith("binance is not asked before 2026-01-05 00:15 UTC: ")


@pytest.mark.parametrize(
    ("told_at", "state", "words"),
    [
        (0, "ok", "within 5 s of the provider's"),
        (-4, "ok", "within 5 s of the provider's"),
        (10, "warning", "this machine's clock is 10 s behind the provider's"),
        (-61, "failed", "this machine's clock is 61 s ahead of the provider's"),
        (None, "ok", "2026-01-06 00:00:00 UTC, compared with no other (no provider told the time)"),
    ],
)
def test_the_clock_is_compared_with_the_providers(world, told_at, state, words):
    moment = None if told_at is None else day(5) + timedelta(seconds=told_at)
    assert clock_compared(world, day(5), moment) == (state, words)
