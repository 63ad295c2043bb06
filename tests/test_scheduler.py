from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from monitor.core.timeframe import parse_timeframe
from monitor.scheduler import AFTER_A_FAULT, BarCloseTrigger
from monitor.sessions import Sessions

NEW_YORK = ZoneInfo("America/New_York")
GRACE = timedelta(minutes=30)


@pytest.fixture(scope="module")
def nyse():
    return Sessions("XNYS", date(2025, 1, 1), date(2026, 12, 31))


def test_a_daily_bar_is_due_when_the_grace_after_the_close_is_over(nyse):
    trigger = BarCloseTrigger("XNYS", lambda _: nyse, parse_timeframe("1d"), GRACE)
    morning = datetime(2026, 11, 20, 10, tzinfo=NEW_YORK)
    assert trigger.get_next_fire_time(None, morning) == datetime(2026, 11, 20, 16, 30, tzinfo=NEW_YORK)


def test_after_it_has_fired_the_next_session_is_due(nyse):
    trigger = BarCloseTrigger("XNYS", lambda _: nyse, parse_timeframe("1d"), GRACE)
    fired = datetime(2026, 11, 20, 16, 30, tzinfo=NEW_YORK)
    assert trigger.get_next_fire_time(fired, fired) == datetime(2026, 11, 23, 16, 30, tzinfo=NEW_YORK)


def test_a_half_day_is_due_early_and_a_holiday_not_at_all(nyse):
    trigger = BarCloseTrigger("XNYS", lambda _: nyse, parse_timeframe("1d"), GRACE)
    before_thanksgiving = datetime(2025, 11, 26, 17, tzinfo=NEW_YORK)
    assert trigger.get_next_fire_time(None, before_thanksgiving) == datetime(2025, 11, 28, 13, 30, tzinfo=NEW_YORK)


@pytest.mark.parametrize("day", [date(2026, 3, 6), date(2026, 3, 9), date(2026, 10, 30), date(2026, 11, 2)])
def test_bars_are_due_by_the_clock_of_the_exchange_on_both_sides_of_a_change_of_time(nyse, day):
    trigger = BarCloseTrigger("XNYS", lambda _: nyse, parse_timeframe("1h"), timedelta(0))
    opened = datetime(day.year, day.month, day.day, 9, 30, tzinfo=NEW_YORK)
    assert trigger.get_next_fire_time(None, opened) == opened + timedelta(hours=1)


class Broken:
    market = "XNYS"

    def next_close(self, timeframe, after):
        raise ValueError("calendar")


def test_a_calendar_that_fails_delays_the_cycle_and_never_stops_it():
    trigger = BarCloseTrigger("XNYS", lambda _: Broken(), parse_timeframe("1d"), GRACE)
    now = datetime(2026, 11, 20, tzinfo=UTC)
    assert trigger.get_next_fire_time(None, now) == now + AFTER_A_FAULT
