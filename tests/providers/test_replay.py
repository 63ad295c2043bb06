"""A replay's moving now. The bars are made by hand, with closes of New York in UTC."""

from datetime import UTC, datetime

import polars as pl
import pytest

from monitor.core.bars import BAR_SCHEMA
from monitor.core.timeframe import TIMEFRAMES
from monitor.providers.replay import ReplayProvider

DAILY = TIMEFRAMES["1d"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def history(*closed_at: tuple[str, str]) -> ReplayProvider:
    rows = [("A", at(label), at(closed), 1.0, 2.0, 1.0, 2.0, 5.0) for label, closed in closed_at]
    return ReplayProvider({"1d": pl.DataFrame(rows, BAR_SCHEMA, orient="row")})


WEEK = (("2025-11-24", "2025-11-24 21:00"), ("2025-11-25", "2025-11-25 21:00"), ("2025-11-26", "2025-11-26 21:00"))


@pytest.mark.parametrize(
    ("now", "served"),
    [
        ("2025-11-24 20:59", []),
        ("2025-11-24 21:00", ["2025-11-24"]),
        ("2025-11-25 23:00", ["2025-11-24", "2025-11-25"]),
        ("2025-12-31 00:00", ["2025-11-24", "2025-11-25", "2025-11-26"]),
    ],
)
def test_a_bar_is_served_from_the_instant_it_closes(now, served):
    fetched = history(*reversed(WEEK)).fetch({"A": None}, DAILY, at(now))
    assert fetched.bars["ts"].to_list() == [at(day) for day in served]
    assert fetched.as_of == {"A": at(now)}


def test_a_bar_waits_for_those_before_it_to_close():
    late = history(("2025-11-22", "2025-11-25 12:00"), ("2025-11-24", "2025-11-25 06:00"))
    assert late.fetch({"A": None}, DAILY, at("2025-11-25 08:00")).bars.is_empty()
    assert late.fetch({"A": None}, DAILY, at("2025-11-25 12:00")).bars.height == 2


def test_a_since_past_the_closed_bars_gives_none():
    assert history(*WEEK).fetch({"A": at("2025-11-26")}, DAILY, at("2025-11-24 22:00")).bars.is_empty()


def test_another_timeframe_has_no_bars():
    failures = history(*WEEK).fetch({"A": None}, TIMEFRAMES["1h"], at("2025-11-26")).failures
    assert str(failures["A"]) == "no 1h bars of A to replay"
