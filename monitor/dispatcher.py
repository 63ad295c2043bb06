"""The dispatcher: drains the outbox. For each delivery it seals the message, claims the row, sends, notes the outcome.

Channels are drained side by side, each in order. It never judges a market: what to tell was decided when the outbox row
was written.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from monitor.errors import DeliveryError, PermanentFailure, StoreError, TransientFailure, UnknownOutcome
from monitor.ports import Channel
from monitor.render.messages import Notice, compose
from monitor.stores.outbox import Due, Outbox, Outcome

HORIZON = timedelta(hours=24)
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=30)
IDLE = timedelta(seconds=30)
FAULT_PAUSE = timedelta(seconds=5)
NOTHING = timedelta(0)

log = structlog.get_logger()


class Dispatcher:
    """Sends what is due on every channel; `clock` gives the time that deliveries are stamped with."""

    def __init__(self, outbox: Outbox, channels: Mapping[str, Channel], clock: Callable[[], datetime]) -> None:
        self._outbox = outbox
        self._channels = channels
        self._clock = clock
        self._wakes = {name: asyncio.Event() for name in channels}

    def wake(self) -> None:
        """Look at the outbox again now; call it on the event loop."""
        for event in self._wakes.values():
            event.set()

    async def drain(self) -> None:
        """Send all that is due now, what an earlier process left in flight included."""
        await asyncio.gather(*(self._drain(name, asyncio.Event(), orphans=True) for name in self._channels))

    async def run(self, stopping: asyncio.Event) -> None:
        """Send what becomes due until `stopping` is set; a send under way is finished first."""
        await asyncio.gather(stopping.wait(), *(self._run(name, stopping) for name in self._channels))

    async def aclose(self) -> None:
        for channel in self._channels.values():
            await channel.aclose()

    async def _run(self, name: str, stopping: asyncio.Event) -> None:
        wake = self._wakes[name]
        orphans = True
        while not stopping.is_set():
            wake.clear()
            try:
                await self._drain(name, stopping, orphans=orphans)
                upcoming = await asyncio.to_thread(self._outbox.next_time, name)
                orphans, pause = False, min(max(upcoming - self._clock(), NOTHING), IDLE) if upcoming else IDLE
            except StoreError as error:
                log.error("dispatch.interrupted", channel=name, error=error.message, hint=error.hint)
                orphans, pause = True, FAULT_PAUSE
            except Exception:
                log.exception("dispatch.broke", channel=name)
                orphans, pause = True, FAULT_PAUSE
            await _first_of(wake, stopping, pause)

    async def _drain(self, name: str, stopping: asyncio.Event, *, orphans: bool) -> None:
        """Send what is due; `orphans` may be in flight without anybody who waits for their outcome."""
        if orphans:
            unknown = await asyncio.to_thread(self._outbox.sweep, name, self._clock())
            if unknown:
                log.warning("outbox.swept", channel=name, unknown=unknown)
        while not stopping.is_set():
            due = await asyncio.to_thread(self._outbox.next_due, name, self._clock())
            if due is None:
                return
            await self._send(self._channels[name], due)

    async def _send(self, channel: Channel, due: Due) -> None:
        now = self._clock()
        payload = due.payload if due.payload is not None else self._seal(channel, due, now)
        if not await asyncio.to_thread(self._outbox.claim, due, payload, now):
            return
        try:
            if not payload:
                raise PermanentFailure("the message could not be composed; the log says why")
            answer = await channel.deliver(due.batch, payload, now)
        except DeliveryError as failure:
            await self._failed(due, failure)
        except Exception as error:
            log.exception("delivery.broke", channel=due.channel, id=due.batch)
            await self._failed(due, UnknownOutcome(f"{type(error).__name__} in the channel"))
        else:
            await asyncio.to_thread(self._outbox.record, due, Outcome.SENT, answer, self._clock())
            log.info("delivery.sent", channel=due.channel, id=due.batch, key=due.event.key, attempt=due.attempts + 1)

    def _seal(self, channel: Channel, due: Due, now: datetime) -> bytes:
        """The message's bytes; none where it cannot be composed, so that it ends visibly and holds up no other."""
        try:
            return channel.seal(compose(due.batch, [_notice(due)], now))
        except Exception:
            log.exception("message.broke", channel=due.channel, id=due.batch)
            return b""

    async def _failed(self, due: Due, failure: DeliveryError) -> None:
        now = self._clock()
        outcome = {TransientFailure: Outcome.TRANSIENT, UnknownOutcome: Outcome.UNKNOWN}.get(
            type(failure), Outcome.PERMANENT
        )
        again = now + next_wait(due.attempts + 1, getattr(failure, "retry_after", None))
        dead = outcome is Outcome.PERMANENT or again > due.created_at + HORIZON
        detail = failure.message if outcome is Outcome.PERMANENT or not dead else f"given up: {failure.message}"
        await asyncio.to_thread(self._outbox.record, due, outcome, detail, now, None if dead else again)
        log.warning(
            "delivery.failed", channel=due.channel, id=due.batch, outcome=outcome, detail=detail, again=not dead
        )


async def _first_of(wake: asyncio.Event, stopping: asyncio.Event, pause: timedelta) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in (wake, stopping)]
    await asyncio.wait(waits, timeout=pause.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def next_wait(attempt: int, retry_after: timedelta | None) -> timedelta:
    """How long to wait after a failed attempt: doubling, spread, and never less than the receiver asked for."""
    backoff: timedelta = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt - 1, 20)) * random.uniform(0.5, 1)
    return max(backoff, retry_after or NOTHING)


def _notice(due: Due) -> Notice:
    return Notice(
        event=due.event,
        check=due.check,
        watchlists=due.watchlists,
        severity=due.severity,
        due_at=due.due_at,
        provider=due.provider,
        config_digest=due.config_digest,
    )
