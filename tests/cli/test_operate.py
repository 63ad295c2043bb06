import sqlite3

import pytest

from monitor.stores.database import StateDirectory
from tests.worlds import CONFIG, WATCHLIST, World


def test_init_writes_a_configuration_that_is_valid(barwatch, tmp_path):
    assert barwatch("init", tmp_path / "new").code == 0
    result = barwatch("validate", "--config", tmp_path / "new" / "config.toml", "--json")
    assert result.code == 0
    assert result.json["watchlists"][0]["watchlist"] == "us-large-caps"


def test_init_leaves_what_is_there(barwatch, tmp_path):
    (tmp_path / "config.toml").write_text("# mine")
    result = barwatch("init", tmp_path)
    assert result.code == 1
    assert "left as it is" in result.err
    assert (tmp_path / "config.toml").read_text() == "# mine"
    assert not (tmp_path / "watchlists").exists()


def test_validate_shows_what_is_watched(barwatch, world):
    result = barwatch("validate", "--config", world.config)
    assert result.code == 0
    assert "test" in result.out
    assert result.out.splitlines()[-1] == "valid"


MISTAKES = {
    "broken TOML": (WATCHLIST + "\n[[checks\n", "test.toml:1", "not valid TOML"),
    "unknown key": (WATCHLIST + "trigerr = 1\n", "test.toml:11:11", "did you mean 'trigger'"),
    "unknown indicator": (WATCHLIST.replace("close > 100", "rsii(close, 14) < 30"), "test.toml:10:9", "rsi"),
    "wrong arity": (WATCHLIST.replace("close > 100", "rsi(close, 14, 2) < 30"), "test.toml:10:", "rsi"),
    "impossible window": (WATCHLIST.replace("close > 100", "sma(close, 9999) > 1"), "test.toml:10:", "5000"),
    "duplicate symbols": (WATCHLIST.replace('["BTC-USD"]', '["A", "A"]'), "test.toml:4:", "twice"),
    "unknown timeframe": (WATCHLIST.replace('"1d"', '"1day"'), "test.toml:5:", "did you mean '1d'"),
    "unknown market": (WATCHLIST.replace('"24/7"', '"NYSE"'), "test.toml:3:", "XNYS"),
    "unknown channel": (WATCHLIST.replace('["file"]', '["fiel"]'), "test.toml", "did you mean 'file'"),
    "unreadable cooldown": (WATCHLIST + 'cooldown = "soon"\n', "test.toml:11:", "5 bars"),
    "no rule": (WATCHLIST.replace('when = "close > 100"', ""), "test.toml:8:", "either when"),
    "rule and trigger": (
        WATCHLIST.replace('when = "close > 100"', 'rule = "trend"\ntrigger = "level"'), "test.toml:8:", "confirmation",
    ),
    "two checks of one name": (WATCHLIST + WATCHLIST[WATCHLIST.index("[[checks]]") :], "test.toml:", "its own name"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "where", "what"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_watchlist_is_told_with_its_place_and_what_to_do(barwatch, world, text, where, what):
    world.write_watchlist(text)
    result = barwatch("validate", "--config", world.config)
    assert result.code == 78
    assert where in result.err
    assert what in result.err
    assert len(result.err.splitlines()) < 15


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[grace]\nintradey = 5", "config.toml:2:12", "did you mean 'intraday'"),
        ("[grace]\nintraday = -5", "config.toml:2:12", "greater than or equal to 0"),
        ('[provider]\nkind = "yahu"', "config.toml:", "files"),
        ('[channels.hook]\nkind = "webhook"', "config.toml:1:", "url"),
        ('[channels.file]\nkind = "file"\npath = 5', "config.toml:3:8", "channels.file.path"),
        ('[provider]\nkind = "files"\nfolder = 5', "config.toml:3:10", "provider.folder"),
        ("log_level = loud", "config.toml:1:", "not valid TOML"),
    ],
)
def test_a_mistake_in_config_toml_is_told_with_its_place(barwatch, world, text, where, what):
    world.config.write_text(text)
    result = barwatch("validate", "--config", world.config)
    assert result.code == 78
    assert where in result.err
    assert what in result.err


def test_a_missing_config_says_how_to_make_one(barwatch, tmp_path):
    result = barwatch("validate", "--config", tmp_path / "config.toml")
    assert result.code == 78
    assert "barwatch init" in result.err


def test_a_secret_in_a_wrong_key_is_not_repeated(barwatch, world):
    world.config.write_text('[channels.hook]\nkind = "webhook"\nurl = "ftp://host/CANARY"\n')
    result = barwatch("validate", "--config", world.config)
    assert result.code == 78
    assert "CANARY" not in result.err + result.out


@pytest.mark.parametrize("key", ['url = "https://host/CANARY"', 'secret = ["CANARY"]\nkind = "webhook"'])
def test_a_secret_beside_a_mistake_is_not_repeated(barwatch, world, key):
    world.config.write_text(f"[channels.hook]\n{key}\n")
    result = barwatch("validate", "--config", world.config)
    assert result.code == 78
    assert "CANARY" not in result.err + result.out


def test_an_environment_variable_wins_over_the_file(barwatch, world, monkeypatch):
    monkeypatch.setenv("BARWATCH__PROVIDER__KIND", "replay")
    assert barwatch("validate", "--config", world.config, "--json").json["provider"] == "replay"


def test_once_evaluates_sends_and_says_what_it_did(barwatch, world):
    world.write_bars([90])
    result = barwatch("once", "--config", world.config, "--json")
    [cycle] = result.json["cycles"]
    assert (cycle["evaluated"], cycle["bars"], cycle["events"]) == (1, 1, 0)
    assert "has not come yet" in cycle["missing"]["BTC-USD"]
    assert result.code == 1


def test_once_names_a_symbol_the_provider_does_not_know(barwatch, world):
    result = barwatch("once", "--config", world.config)
    assert result.code == 1
    assert "missing BTC-USD 1d: no 1d bars of BTC-USD" in result.out


def test_a_replay_tells_what_an_earlier_day_would_have(barwatch, world):
    world.config.write_text(CONFIG + '\n[provider]\nkind = "replay"\n')
    world.write_bars([90, 110, 90])
    assert barwatch("once", "--config", world.config, "--at", "2026-01-02").code == 0
    result = barwatch("once", "--config", world.config, "--at", "2026-01-03", "--json")
    assert result.json["cycles"][0]["told"] == 1
    assert len((world.folder / "messages.jsonl").read_text().splitlines()) == 1


def test_another_provider_cannot_be_moved_in_time(barwatch, world):
    assert barwatch("once", "--config", world.config, "--at", "2026-01-02").code == 78


def test_a_store_in_use_is_told_with_exit_75(barwatch, world):
    directory = StateDirectory(world.folder / "state").hold()
    result = barwatch("once", "--config", world.config)
    directory.release()
    assert result.code == 75
    assert "another Barwatch" in result.err


def test_a_store_of_a_newer_version_is_refused_and_kept(barwatch, world):
    world.write_bars([90])
    barwatch("once", "--config", world.config)
    with sqlite3.connect(world.folder / "state" / "state.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    result = barwatch("once", "--config", world.config)
    assert result.code == 1
    assert "newer Barwatch" in result.err


def test_an_unwritable_state_directory_is_told_with_what_to_do(barwatch, tmp_path):
    world = World(tmp_path, config=CONFIG.replace('"state"', '"bars/1d/X.csv/state"'))
    world.write_bars([90], "X")
    result = barwatch("once", "--config", world.config)
    assert result.code == 1
    assert "cannot write the state directory" in result.err
