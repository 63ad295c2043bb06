from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.core.events import EventKind
from monitor.core.policy import Cooldown, Reason, Route, Severity, Told, decide, merge, parse_cooldown
from monitor.errors import InputError
from tests.core.test_events import EVENT

ROUTE = Route("us", "trend", "phone", Severity.WARNING)
FIVE_BARS = replace(ROUTE, cooldown=Cooldown(bars=5))
THREE_DAYS = replace(ROUTE, cooldown=Cooldown(length=timedelta(days=3)))


def told(days, bars):
    return Told(EVENT.closed_at - timedelta(days=days), bars)


@pytest.mark.parametrize(
    ("route", "before", "reason"),
    [
        (ROUTE, told(0, 0), Reason.TELL),
        (FIVE_BARS, None, Reason.TELL),
        (FIVE_BARS, told(9, 4), Reason.COOLDOWN),
        (FIVE_BARS, told(1, 5), Reason.TELL),
        (THREE_DAYS, told(2.9, 100), Reason.COOLDOWN),
        (THREE_DAYS, told(3, 0), Reason.TELL),
    ],
)
def test_a_cooldown_holds_until_it_is_over(route, before, reason):
    assert decide(EVENT, [route], before).reason is reason


def test_a_held_event_says_since_when_and_for_how_long():
    assert decide(EVENT, [FIVE_BARS], told(2, 2)).detail == "told 2 bars ago, quiet for 5 bars"


def test_of_several_routes_to_a_channel_the_highest_severity_and_the_shortest_cooldown_hold():
    critical = replace(THREE_DAYS, watchlist="mine", severity=Severity.CRITICAL)
    [routes] = merge([FIVE_BARS, critical], "1d").values()
    decision = decide(EVENT, routes, told(3, 3))
    assert decision.tell
    assert decision.severity is Severity.CRITICAL
    assert decision.watchlists == ("mine", "us")


def test_a_route_without_a_cooldown_is_the_shortest():
    [routes] = merge([FIVE_BARS, ROUTE, THREE_DAYS], "1d").values()
    assert decide(EVENT, routes, told(0, 0)).tell


def test_routes_to_different_channels_stay_apart():
    assert set(merge([ROUTE, replace(ROUTE, channel="mail")], "1d")) == {"phone", "mail"}


def test_an_early_warning_is_never_more_than_information():
    warning = replace(EVENT, kind=EventKind.EARLY_WARNING)
    assert decide(warning, [replace(ROUTE, severity=Severity.CRITICAL)], None).severity is Severity.INFO


@pytest.mark.parametrize(
    ("text", "cooldown"),
    [
        ("5 bars", Cooldown(bars=5)),
        ("1 bar", Cooldown(bars=1)),
        ("90m", Cooldown(timedelta(minutes=90))),
        ("3d", Cooldown(timedelta(days=3))),
    ],
)
def test_cooldowns_are_written_as_people_say_them(text, cooldown):
    assert parse_cooldown(text) == cooldown


@pytest.mark.parametrize("text", ["", "5", "0 bars", "five bars", "-3d", "3y"])
def test_another_cooldown_is_refused_with_the_ways_to_write_it(text):
    with pytest.raises(InputError, match="not understood") as refused:
        parse_cooldown(text)
    assert "5 bars" in refused.value.hint
