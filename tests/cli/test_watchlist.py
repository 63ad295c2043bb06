import tomllib

import pytest

COMMENTED = """\
# my list
market = "24/7"
symbols = ["BTC-USD", "ETH-USD"]  # two coins
timeframes = ["1d"]
channels = ["file"]

[[checks]]
name = "high"       # the first check
when = "close > 100"

[[checks]]
name = "eth-only"
when = "close > 5"
symbols = ["ETH-USD"]
"""


@pytest.fixture
def mine(world):
    world.write_watchlist(COMMENTED)
    return world


def text(world):
    return (world.folder / "watchlists" / "test.toml").read_text()


def test_add_with_a_condition_writes_a_check_and_keeps_the_rest(barwatch, mine):
    result = barwatch("watchlist", "add", "AAPL", "--when", "close > 250", "--config", mine.config)
    assert result.code == 0
    after = tomllib.loads(text(mine))
    assert after["symbols"] == ["BTC-USD", "ETH-USD", "AAPL"]
    assert after["checks"][-1] == {"name": "aapl-close-above-250", "when": "close > 250", "symbols": ["AAPL"]}
    for kept in ("# my list", "# two coins", "# the first check"):
        assert kept in text(mine)
    assert barwatch("validate", "--config", mine.config).code == 0


@pytest.mark.parametrize(
    "text",
    [
        'symbols = ["A"]\ntimeframes = ["1d"]\nchannels = []\nchecks = [{name = "a", when = "close > 1"}]\n',
        COMMENTED + "# the end",
    ],
)
def test_add_writes_a_check_in_whatever_form_the_others_have(barwatch, mine, text):
    mine.write_watchlist(text)
    assert barwatch("watchlist", "add", "B", "--when", "close > 2", "--config", mine.config).code == 0
    after = (mine.folder / "watchlists" / "test.toml").read_text()
    assert tomllib.loads(after)["checks"][-1]["symbols"] == ["B"]
    assert "[[checks]]" not in after or "\n\n[[checks]]" in after


def test_add_without_a_condition_adds_the_symbol_alone(barwatch, mine):
    barwatch("watchlist", "add", "SOL-USD", "--config", mine.config)
    assert tomllib.loads(text(mine))["symbols"] == ["BTC-USD", "ETH-USD", "SOL-USD"]
    assert len(tomllib.loads(text(mine))["checks"]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["BTC-USD"], "already in"),
        (["AAPL", "--when", "close >"], "1"),
        (["AAPL", "--when", "clse > 1"], "close"),
        (["AAPL", "--when", "close > 1", "--channel", "phone"], "phone"),
        (["A B"], "symbols"),
        (["AAPL", "--name", "x"], "--when"),
        (["AAPL", "--list", "none"], "no watchlist"),
    ],
)
def test_an_edit_that_would_not_be_valid_leaves_the_file_as_it_is(barwatch, mine, words, message):
    result = barwatch("watchlist", "add", *words, "--config", mine.config)
    assert result.code in (1, 78)
    assert message in result.err
    assert text(mine) == COMMENTED


def test_remove_takes_the_symbol_and_the_checks_of_it_alone(barwatch, mine):
    assert barwatch("watchlist", "remove", "ETH-USD", "--config", mine.config).code == 0
    after = tomllib.loads(text(mine))
    assert after["symbols"] == ["BTC-USD"]
    assert [check["name"] for check in after["checks"]] == ["high"]
    assert "# two coins" in text(mine)


def test_removing_what_is_not_there_says_what_is(barwatch, mine):
    result = barwatch("watchlist", "remove", "DOGE", "--config", mine.config)
    assert result.code == 1
    assert "BTC-USD" in result.err


def test_list_shows_symbols_and_checks(barwatch, mine):
    result = barwatch("watchlist", "list", "--config", mine.config)
    assert "BTC-USD, ETH-USD" in result.out
    assert "close > 5" in result.out
    listed = barwatch("watchlist", "list", "--config", mine.config, "--json").json
    assert listed["test"]["symbols"] == ["BTC-USD", "ETH-USD"]
