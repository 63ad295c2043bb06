from datetime import timedelta
from pathlib import Path

import pytest

from monitor.config.settings import load_settings, state_directory
from monitor.config.snapshot import load_snapshot
from monitor.core.policy import Severity
from monitor.errors import ConfigError
from monitor.ports import Instrument
from tests.worlds import CONFIG, WATCHLIST, World

TWO = WATCHLIST.replace('["BTC-USD"]', '["BTC-USD", "ETH-USD"]').replace('["1d"]', '["1h", "1d"]')


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def watched(world, timeframe="1d"):
    return next(one for one in load_snapshot(world.config).watched if one.timeframe.name == timeframe)


def test_each_timeframe_has_its_own_checks_and_grace(world):
    world.config.write_text(CONFIG.replace("intraday = 0", "intraday = 60"))
    world.write_watchlist(TWO + 'timeframes = ["1h"]\n\n[[checks]]\nname = "trend"\nrule = "trend"\n')
    assert sorted(watched(world, "1h").names.values()) == ["high", "trend"]
    assert list(watched(world, "1d").names.values()) == ["trend"]
    assert watched(world, "1h").grace == timedelta(minutes=1)


def test_a_check_can_watch_some_of_the_symbols(world):
    world.write_watchlist(TWO + 'symbols = ["ETH-USD"]\n')
    [symbols] = watched(world).checks.values()
    assert symbols == {"ETH-USD"}


def test_a_check_takes_severity_channels_and_cooldown_from_its_watchlist_unless_it_has_its_own(world):
    head, tail = WATCHLIST.split("\n[[checks]]")
    mine = '\n[[checks]]\nname = "mine"\nwhen = "close > 7"\nseverity = "critical"\nchannels = []\n'
    world.write_watchlist(f'{head}severity = "info"\ncooldown = "2 bars"\n[[checks]]{tail}{mine}')
    one = watched(world)
    routes = {one.names[digest]: found for (digest, _), found in one.routes.items()}
    [route] = routes["high"]
    assert (route.channel, route.severity, str(route.cooldown)) == ("file", Severity.INFO, "2 bars")
    assert routes["mine"] == ()


def test_equal_checks_of_two_watchlists_are_one_with_the_routes_of_both(world):
    other = WATCHLIST.replace('"high"', '"tall"').replace('"BTC-USD"', '"ETH-USD", "BTC-USD"')
    (world.folder / "watchlists" / "zzz.toml").write_text(other)
    one = watched(world)
    [check] = one.checks
    assert {route.watchlist for route in one.routes[check.digest, "BTC-USD"]} == {"test", "zzz"}
    assert {route.watchlist for route in one.routes[check.digest, "ETH-USD"]} == {"zzz"}


def test_checks_that_differ_in_spelling_alone_are_one(world):
    (world.folder / "watchlists" / "zzz.toml").write_text(WATCHLIST.replace("close > 100", "(close)>100.0"))
    assert len(watched(world).checks) == 1


def test_an_environment_variable_wins_over_the_file(world, monkeypatch):
    monkeypatch.setenv("BARWATCH__GRACE__DAILY", "7")
    assert load_snapshot(world.config).settings.grace.daily == 7


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("BARWATCH__GRACE__DAILY", "soon", "environment variable BARWATCH__GRACE__DAILY"),
        ("BARWATCH__LOG_LEVLE", "info", "did you mean BARWATCH__LOG_LEVEL"),
        ("BARWATCH__CHANNELS", "foo", "environment"),
    ],
)
def test_a_mistake_in_the_environment_is_told_as_such(world, monkeypatch, name, value, what):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        load_snapshot(world.config)
    assert what in f"{refused.value.message} {refused.value.hint}"


def test_a_provider_without_a_kind_is_files(world):
    world.config.write_text(CONFIG + '\n[provider]\nfolder = "elsewhere"\n')
    assert load_snapshot(world.config).settings.provider.kind == "files"


@pytest.mark.parametrize("key", ['symbols = ["SOL-USD"]', "symbols = []"])
def test_a_check_of_symbols_that_are_not_listed_is_refused(world, key):
    world.write_watchlist(f"{WATCHLIST}{key}\n")
    with pytest.raises(ConfigError):
        load_snapshot(world.config)


def test_one_symbol_on_two_markets_is_refused(world):
    (world.folder / "watchlists" / "zzz.toml").write_text(WATCHLIST.replace("24/7", "XNYS"))
    with pytest.raises(ConfigError, match="BTC-USD on market"):
        load_snapshot(world.config)


def test_the_digest_changes_with_what_can_change_an_event_and_not_with_a_comment(world):
    before = load_snapshot(world.config).digest
    world.write_watchlist("# a comment\n" + WATCHLIST)
    assert load_snapshot(world.config).digest == before
    world.write_watchlist(WATCHLIST.replace("100", "101"))
    assert load_snapshot(world.config).digest != before


def test_paths_begin_at_the_folder_of_the_file_that_names_them(world, monkeypatch):
    monkeypatch.chdir(world.folder.parent)
    settings = load_settings(Path(world.folder.name) / "config.toml")
    assert settings.state_directory == world.folder / "state"
    assert settings.channels["file"].path == world.folder / "messages.jsonl"


def test_without_a_state_directory_systemds_is_used_else_the_users(tmp_path, monkeypatch):
    (tmp_path / "config.toml").write_text("")
    settings = load_settings(tmp_path / "config.toml")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/.state")
    assert state_directory(settings, tmp_path) == Path("/home/me/.state/barwatch")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/barwatch")
    assert state_directory(settings, tmp_path) == Path("/var/lib/barwatch")


def test_no_watchlist_at_all_says_how_to_begin(world):
    (world.folder / "watchlists" / "test.toml").unlink()
    with pytest.raises(ConfigError, match="no watchlist") as refused:
        load_snapshot(world.config)
    assert "barwatch init" in refused.value.hint


def test_a_market_that_nobody_states_is_guessed_until_a_provider_tells_it(world):
    world.write_watchlist(WATCHLIST.replace('market = "24/7"\n', "").replace("BTC-USD", "AZN.L"))
    [watched] = load_snapshot(world.config).watched
    assert (watched.markets, watched.guessed) == ({"AZN.L": "XLON"}, {"AZN.L"})
    assert watched.knowing({"AZN.L": Instrument("XETR")}).markets == {"AZN.L": "XETR"}


def test_a_market_that_a_watchlist_states_is_not_for_a_provider_to_change(world):
    [watched] = load_snapshot(world.config).watched
    assert watched.knowing({"BTC-USD": Instrument("XNYS")}).markets == {"BTC-USD": "24/7"}
