import math

import polars as pl
import pytest

from monitor.core.bars import violations
from tests.core.conftest import frame

SOUND = (2.0, 4.0, 1.0, 3.0, 10.0)


def rules_broken(*bars):
    return [violation.rule for violation in violations(frame("X", list(bars)))]


def test_a_sound_frame_has_no_violations(real_bars):
    assert violations(real_bars.filter(pl.col("symbol") == "IBM").head(500)) == []


@pytest.mark.parametrize(
    ("bar", "rule"),
    [
        ((math.nan, 4, 1, 3, 1), "open is missing or not a finite number"),
        ((2, math.inf, 1, 3, 1), "high is missing or not a finite number"),
        ((2, 4, 1, None, 1), "close is missing or not a finite number"),
        ((2, 4, 0, 3, 1), "low is not above 0"),
        ((2, 4, 2.5, 3, 1), "low is above open or close"),
        ((2, 2.5, 1, 3, 1), "high is below open or close"),
        ((2, 4, 1, 3, -1), "volume is negative or not a number"),
        ((2, 4, 1, 3, math.nan), "volume is negative or not a number"),
    ],
)
def test_each_rule_that_a_bar_breaks_is_named(bar, rule):
    assert rules_broken(SOUND, bar) == [rule]


def test_high_below_low_is_named():
    assert "high is below low" in rules_broken((2, 1, 3, 2, 1))


def test_a_market_may_have_no_volume():
    assert rules_broken((2, 4, 1, 3, None)) == []


def test_a_bar_that_stands_twice_and_one_out_of_order_are_named():
    bars = frame("X", [SOUND] * 3)
    twice = pl.concat([bars, bars.tail(1)])
    assert [violation.rule for violation in violations(twice)] == ["stands twice"]
    assert [violation.rule for violation in violations(bars.reverse())] == ["is not in order of time"] * 2


def test_a_violation_tells_symbol_time_and_value():
    [violation] = violations(frame("AAPL", [SOUND, (2, 4, 1, math.nan, 1)]))
    assert str(violation) == "AAPL 2026-01-02 00:00: close is missing or not a finite number (close nan)"
    assert violation.row == 1
