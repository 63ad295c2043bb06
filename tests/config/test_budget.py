import pytest

from monitor.config.budget import poll_budget
from monitor.core.timeframe import TIMEFRAMES
from monitor.errors import ConfigError
from monitor.providers import AlpacaSettings, FilesSettings, TwelveDataSettings, YahooSettings

YAHOO = YahooSettings(kind="yahoo")


def budget(provider, count, *timeframes):
    symbols = [f"S{i}" for i in range(count)]
    return poll_budget(provider, {TIMEFRAMES[name]: symbols for name in timeframes})


def test_a_pass_takes_as_long_as_its_requests_at_the_pace_that_is_kept():
    made = budget(YAHOO, 500, "1h", "1d")
    assert made.minutes_a_pass == pytest.approx(500 / 0.5 / 60)
    assert made.possible_an_hour == 1800


def test_larger_intraday_bars_cost_no_request_of_their_own():
    assert budget(YAHOO, 100, "15m", "1h", "4h") == budget(YAHOO, 100, "15m")
    assert budget(YAHOO, 100, "15m").requests_an_hour == 400


def test_days_are_asked_for_as_days():
    assert budget(YAHOO, 24, "1h", "1d").requests_an_hour == 24 + 1


def test_what_cannot_be_asked_for_as_often_as_bars_close_is_refused_with_what_to_do():
    with pytest.raises(
        ConfigError, match="need 6000 requests an hour while markets trade, of 1800 possible"
    ) as refused:
        budget(YAHOO, 500, "5m")
    assert refused.value.hint.startswith("500 symbols are watched at 5m: watch fewer, or larger bars")


def test_a_plan_of_credits_is_a_pace_too():
    assert budget(TwelveDataSettings(kind="twelvedata", key="k"), 40, "1h").possible_an_hour == 480


@pytest.mark.parametrize(
    "provider", [FilesSettings(kind="files"), AlpacaSettings(kind="alpaca", key_id="i", secret="s")]
)
def test_where_a_symbol_costs_no_request_there_is_no_budget(provider):
    assert budget(provider, 10_000, "1m") is None
