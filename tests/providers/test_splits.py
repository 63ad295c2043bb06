"""Splits in unadjusted prices. The numbers are made by hand; real splits are found in test_sample.py."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import polars as pl
import pytest

from monitor.core.adjust import Split, find_splits, undo_splits

START = datetime(2020, 1, 1, tzinfo=UTC)


def days(count: int) -> list[datetime]:
    return [START + timedelta(days=n) for n in range(count)]


def closes(close: list[float], adjusted: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame({"ts": days(len(close)), "close": close, "adjusted": adjusted}, strict=False)


@pytest.mark.parametrize(
    ("before", "after", "ratio"),
    [
        (200.0, 100.0, Fraction(2)),
        (700.0, 100.0, Fraction(7)),
        (150.0, 100.0, Fraction(3, 2)),
        (125.0, 100.0, Fraction(5, 4)),
        (5.0, 100.0, Fraction(1, 20)),
    ],
)
def test_a_step_of_close_against_adjusted_close_is_a_split(before, after, ratio):
    steady = closes([before, before, after, after], [100.0] * 4)
    assert find_splits(steady) == [Split(days(3)[2], ratio)]


def test_a_crash_that_the_adjusted_close_shares_is_no_split():
    assert find_splits(closes([53.5, 25.75, 25.0], [53.5, 25.75, 25.0])) == []


@pytest.mark.parametrize("paid", [0.004, 0.11, 0.21])
def test_a_dividend_is_no_split(paid):
    assert find_splits(closes([100.0, 100.0, 98.0], [100.0 * (1 - paid), 100.0 * (1 - paid), 98.0])) == []


def test_a_dividend_of_half_a_percent_on_the_day_of_a_split_does_not_hide_it():
    assert find_splits(closes([200.0, 100.0], [99.5, 100.0])) == [Split(days(2)[1], Fraction(2))]


@pytest.mark.parametrize("missing", [None, float("nan"), 0.0])
def test_rows_without_an_adjusted_close_are_passed_over(missing):
    assert find_splits(closes([200.0, 200.0, 100.0], [100.0, missing, 100.0])) == [Split(days(3)[2], Fraction(2))]


def test_prices_adjusted_already_have_no_splits():
    assert find_splits(closes([100.0, 101.0, 102.0], [90.0, 90.9, 91.8])) == []


def test_undoing_splits_divides_the_prices_before_each_and_multiplies_the_volume():
    prices = {name: [60.0, 30.0, 10.0] for name in ("open", "high", "low", "close")}
    bars = pl.DataFrame({"ts": days(3), **prices, "volume": [100.0, 200.0, 600.0]})
    whole = undo_splits(bars, [Split(days(3)[1], Fraction(2)), Split(days(3)[2], Fraction(3))])
    assert whole["close"].to_list() == whole["open"].to_list() == [10.0, 10.0, 10.0]
    assert whole["volume"].to_list() == [600.0, 600.0, 600.0]


def test_undoing_a_reverse_split_raises_the_prices_before_it():
    prices = {name: [5.0, 100.0] for name in ("open", "high", "low", "close")}
    bars = pl.DataFrame({"ts": days(2), **prices, "volume": [2000.0, 100.0]})
    whole = undo_splits(bars, [Split(days(2)[1], Fraction(1, 20))])
    assert (whole["high"].to_list(), whole["volume"].to_list()) == ([100.0, 100.0], [100.0, 100.0])


def test_prices_that_were_equal_before_a_split_stay_equal():
    prices = {name: [10.01, 10.01, 6.0] for name in ("open", "high", "low", "close")}
    bars = pl.DataFrame({"ts": days(3), **prices, "volume": [1.0, 1.0, 1.0]})
    highs = undo_splits(bars, [Split(days(3)[2], Fraction(3, 2))])["high"]
    assert highs[0] == highs[1]
