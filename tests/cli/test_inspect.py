import pytest

from tests.worlds import CONFIG, WATCHLIST


@pytest.fixture
def told(barwatch, world):
    """A world in which the check was armed low, fired on 2 January, and stayed high on the 3rd."""
    world.config.write_text(CONFIG + '\n[provider]\nkind = "replay"\n')
    world.write_bars([90, 110, 120])
    for at in ("2026-01-02", "2026-01-03", "2026-01-04"):
        barwatch("once", "--config", world.config, "--at", at)
    return world


def test_events_are_listed_newest_first(barwatch, told):
    [event] = barwatch("events", "--config", told.config, "--json").json
    assert (event["ts"], event["kind"], event["check_name"]) == ("2026-01-02T00:00:00Z", "became_true", "high")
    assert event["evidence"] == {"close > 100": True, "close": 110.0}
    assert "became true" in barwatch("events", "--config", told.config).out


def test_deliveries_are_listed_with_state_and_reason(barwatch, told):
    [delivery] = barwatch("deliveries", "--config", told.config, "--json", "--state", "sent").json
    assert (delivery["channel"], delivery["reason"], delivery["attempts"]) == ("file", "tell", 1)
    assert barwatch("deliveries", "--config", told.config, "--json", "--symbol", "OTHER").json == []


def test_an_unknown_state_is_told_with_those_there_are(barwatch, told):
    result = barwatch("deliveries", "--config", told.config, "--state", "snet")
    assert result.code == 1
    assert "did you mean 'sent'" in result.err


def test_explain_says_why_a_check_fired_and_where_it_went(barwatch, told):
    found = barwatch("explain", "BTC-USD", "1d", "--at", "2026-01-02", "--config", told.config, "--json").json
    [check] = found["checks"]
    assert check["verdict"] == "fired: became true"
    assert check["values"]["close"] == [110.0, 90.0]
    assert check["deliveries"][0]["state"] == "sent"
    assert found["class_reason"] == "real_bull: close 110 is above the previous high 90"


def test_explain_says_why_a_check_did_not_fire(barwatch, told):
    [check] = barwatch("explain", "BTC-USD", "1d", "--config", told.config, "--json").json["checks"]
    assert (
        check["verdict"]
        == "did not fire: it is true; since it last fired or was armed it has not been false for 1 bars"
    )


def test_explain_counts_towards_a_falling_check_that_waits_for_its_confirmation(barwatch, told):
    falling = WATCHLIST.replace("close > 100", "close > 115") + 'trigger = "falling"\nconfirm = 3\n'
    told.write_watchlist(falling)
    told.write_bars([90, 110, 120, 100, 90])
    barwatch("once", "--config", told.config, "--at", "2026-01-04")
    barwatch("once", "--config", told.config, "--at", "2026-01-06")
    [check] = barwatch("explain", "BTC-USD", "1d", "--config", told.config, "--json").json["checks"]
    assert check["verdict"] == "did not fire yet: it has been false for 2 of 3 bars"
    assert check["settled"] is True


def test_explain_says_of_a_long_average_that_too_little_history_stands_behind_it(barwatch, told):
    told.write_watchlist(WATCHLIST.replace("close > 100", "close > sma(close, 50)"))
    barwatch("once", "--config", told.config, "--at", "2026-01-03")
    told.write_bars([90, 110, 120, 130])
    barwatch("once", "--config", told.config, "--at", "2026-01-05")
    [check] = barwatch("explain", "BTC-USD", "1d", "--config", told.config, "--json").json["checks"]
    assert check["settled"] is False
    assert "the condition is unknown here" in check["verdict"]


def test_explain_of_a_check_added_since_says_that_it_is_not_armed_yet(barwatch, told):
    told.write_watchlist(WATCHLIST.replace("close > 100", "close > 7"))
    [check] = barwatch("explain", "BTC-USD", "1d", "--config", told.config, "--json").json["checks"]
    assert check["verdict"] == "cannot fire: it is not armed yet, the next cycle arms it"


def test_explain_never_says_fired_where_no_event_is_stored(barwatch, world):
    world.config.write_text(CONFIG + '\n[provider]\nkind = "replay"\n')
    world.write_bars([45, 55, 45])
    for at in ("2026-01-02", "2026-01-04"):
        barwatch("once", "--config", world.config, "--at", at)
    world.write_bars([90, 110, 90])  # on another scale, which tells nothing of the past
    barwatch("once", "--config", world.config, "--at", "2026-01-04")
    result = barwatch("explain", "BTC-USD", "1d", "--at", "2026-01-02", "--config", world.config, "--json")
    assert result.json["checks"][0]["verdict"].startswith("did not fire: by the bars as they are now")


def test_explain_says_that_a_bar_before_the_arming_cannot_fire(barwatch, told):
    result = barwatch("explain", "BTC-USD", "1d", "--at", "2026-01-01", "--config", told.config)
    assert "cannot fire: it is armed from the bar of 2026-01-01" in result.out


def test_explain_of_an_unwatched_symbol_names_the_nearest(barwatch, told):
    result = barwatch("explain", "BTC-USDT", "1d", "--config", told.config)
    assert result.code == 1
    assert "did you mean 'BTC-USD 1d'" in result.err


def test_explain_before_anything_ran_says_what_to_run(barwatch, world):
    result = barwatch("explain", "BTC-USD", "1d", "--config", world.config)
    assert result.code == 1
    assert "barwatch once" in result.err


def test_check_shows_what_would_fire_and_keeps_nothing(barwatch, world):
    world.write_bars([90, 110])
    [row] = barwatch("check", "--config", world.config, "--json").json["checks"]
    assert (row["symbol"], row["now"], row["fires"], row["class"]) == ("BTC-USD", True, True, "real_bull")
    assert not (world.folder / "state").exists()


def test_check_of_one_watchlist_leaves_the_others_out(barwatch, world):
    (world.folder / "watchlists" / "other.toml").write_text(WATCHLIST.replace("BTC-USD", "ETH-USD"))
    world.write_bars([90, 110])
    world.write_bars([90, 110], "ETH-USD")
    rows = barwatch("check", "other", "--config", world.config, "--json").json["checks"]
    assert [row["symbol"] for row in rows] == ["ETH-USD"]


def test_notices_stand_among_the_events_without_prices(barwatch, world):
    world.write_bars([90, 90, 90, 90])
    barwatch("once", "--config", world.config)
    world.write_bars([90, 90, 90, 90, 9000])
    barwatch("once", "--config", world.config)
    result = barwatch("events", "--config", world.config)
    assert "quarantined" in result.out
