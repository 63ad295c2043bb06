"""Breaker: what keeps us from asking a provider that fails.

It *opens* when the provider asks to be left alone, or has failed as a whole again and again: while it is open the
provider is not asked, and every symbol has that for a reason. Each time it opens without a success in between it stays
open for longer.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from monitor.errors import BarwatchError, RateLimited, Unreachable
from monitor.ports import Fetched
from monitor.stores.breakers import BreakerRecord, Breakers

BANNED = tuple(timedelta(minutes=minutes) for minutes in (15, 30, 60, 120))
FAILING = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 4, 8, 15))
FAILURES = 5
NOTED_EVERY = timedelta(minutes=5)

log = structlog.get_logger()


class Breaker:
    """The breaker of one provider; without `breakers` it does not outlive the process."""

    def __init__(self, provider: str, breakers: Breakers | None) -> None:
        self.provider = provider
        self._breakers = breakers
        self.record = breakers.of(provider) if breakers else BreakerRecord()

    def lets_through(self, now: datetime) -> bool:
        return self.record.open_until is None or now >= self.record.open_until

    def failure(self) -> BarwatchError:
        """What a symbol gets while the breaker is open."""
        return Unreachable(
            f"{self.provider} is not asked before {self.record.open_until:%Y-%m-%d %H:%M} UTC: {self.record.why}"
        )

    def note(self, fetched: Fetched, now: datetime) -> None:
        """Learn from what a fetch brought."""
        failures = list(fetched.failures.values())
        banned = [failure for failure in failures if isinstance(failure, RateLimited)]
        down = [failure for failure in failures if isinstance(failure, Unreachable)]
        if banned:
            wait = max([_step(BANNED, self.record.step), *(failure.retry_after or BANNED[0] for failure in banned)])
            self._open(now, wait, banned[0].message, len(banned))
        elif fetched.as_of:
            if self.record.open_until:
                log.info("provider.answers_again", provider=self.provider)
            self._keep(BreakerRecord(succeeded_at=now))
        elif down:
            failed = self._failed(now, down[0].message, len(down))
            if failed.failures >= FAILURES:
                self._open(now, _step(FAILING, self.record.step), down[0].message, len(down))
            else:
                self._keep(failed)

    def _failed(self, now: datetime, why: str, count: int) -> BreakerRecord:
        known = self.record
        return replace(known, failures=known.failures + count, failing_since=known.failing_since or now, why=why)

    def _open(self, now: datetime, wait: timedelta, why: str, count: int) -> None:
        failed = self._failed(now, why, count)
        log.warning("provider.left_alone", provider=self.provider, until=str(now + wait), why=why)
        self._keep(replace(failed, step=self.record.step + 1, open_until=now + wait))

    def _keep(self, record: BreakerRecord) -> None:
        """Successes are many: one is written down where it ends failures, and else every few minutes."""
        known, self.record = self.record, record
        if self._breakers is None:
            return
        if replace(record, succeeded_at=known.succeeded_at) != known or _much_later(record, known):
            self._breakers.keep(self.provider, record)


def _much_later(record: BreakerRecord, known: BreakerRecord) -> bool:
    if record.succeeded_at is None or known.succeeded_at is None:
        return record.succeeded_at is not None
    return record.succeeded_at - known.succeeded_at >= NOTED_EVERY


def _step(waits: Sequence[timedelta], step: int) -> timedelta:
    return waits[min(step, len(waits) - 1)]
