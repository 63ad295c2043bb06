"""The scheduler: when a cycle is due. A job of APScheduler stands for one market and timeframe, and fires when a bar of
it has been closed for the grace time."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from apscheduler.triggers.base import BaseTrigger

from monitor.core.timeframe import Timeframe
from monitor.sessions import Sessions

AFTER_A_FAULT = timedelta(minutes=1)

log = structlog.get_logger()


class BarCloseTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no types
    """Fires when the next bar of a market and timeframe is due.

    It neither raises nor returns None: an exception would stop APScheduler for ever, and None would remove its job.
    """

    def __init__(
        self, market: str, sessions: Callable[[str], Sessions], timeframe: Timeframe, grace: timedelta
    ) -> None:
        self._market = market
        self._sessions = sessions
        self._timeframe = timeframe
        self._grace = grace

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        after = max(previous_fire_time or now, now)
        try:
            return self._sessions(self._market).next_close(self._timeframe, after - self._grace) + self._grace
        except Exception:
            log.exception("trigger.failed", market=self._market, timeframe=self._timeframe.name)
            return after + AFTER_A_FAULT
