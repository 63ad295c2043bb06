import asyncio
import json
from datetime import timedelta

import pytest

from monitor import assembly
from monitor.dispatcher import FIRST_WAIT, HORIZON, Dispatcher, next_wait
from monitor.stores.database import StateDirectory
from monitor.stores.history import History
from tests.receivers import Answer
from tests.worlds import CONFIG, WATCHLIST, World, day

SECRET = "whsec_c2VjcmV0IG9mIHRoZSBsb29wYmFjayByZWNlaXZlcg=="


@pytest.fixture
def world(tmp_path, receiver):
    hook = f'\n[channels.hook]\nkind = "webhook"\nurl = "{receiver.url}"\nsecret = "{SECRET}"\nallow_private = true\n'
    world = World(tmp_path, WATCHLIST.replace('["file"]', '["hook"]'), CONFIG + hook)
    world.write_bars([90])
    step(world, day(1))
    world.write_bars([90, 110])
    return world


def step(world, now, *, sent_at=None):
    """A cycle and a drain of the outbox, as one process would do them."""
    with world.parts(sent_at or now) as parts:
        [watched] = parts.snapshot.watched
        parts.pipeline.run_cycle(now, watched, watched.markets)

        async def drain():
            await parts.dispatcher.drain()
            await parts.dispatcher.aclose()

        asyncio.run(drain())


def deliveries(world):
    state = StateDirectory(world.folder / "state").open("state")
    found = History(state).deliveries()
    state.close()
    return found


def attempts(world, batch):
    state = StateDirectory(world.folder / "state").open("state")
    found = [attempt["outcome"] for attempt in History(state).attempts(batch)]
    state.close()
    return found


def test_an_event_reaches_its_channel_once(world, receiver):
    step(world, day(2))
    step(world, day(2))
    [message] = receiver.received
    [told] = deliveries(world)
    assert (told["state"], told["batch_id"], told["detail"]) == ("sent", message.id, "HTTP 200")
    assert json.loads(message.body)["events"][0]["symbol"] == "BTC-USD"


def test_a_transient_failure_is_tried_again_under_the_same_id_with_the_same_bytes(world, receiver):
    receiver.answer(Answer(503))
    step(world, day(2))
    [told] = deliveries(world)
    assert told["state"] == "pending"
    assert timedelta(0) < told["not_before"] - day(2) <= FIRST_WAIT
    step(world, day(2), sent_at=day(2, 1))
    first, second = receiver.received
    assert (first.id, first.sha256) == (second.id, second.sha256)
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert attempts(world, first.id) == ["transient", "sent"]


def test_a_receiver_that_names_a_time_is_left_alone_until_then(world, receiver):
    receiver.answer(Answer(429, {"retry-after": "1800"}))
    step(world, day(2))
    [told] = deliveries(world)
    assert told["not_before"] == day(2) + timedelta(minutes=30)


def test_a_permanent_failure_ends_visibly_and_is_not_tried_again(world, receiver):
    receiver.answer(Answer(404))
    step(world, day(2))
    step(world, day(2), sent_at=day(3))
    [told] = deliveries(world)
    assert told["state"] == "dead"
    assert "404" in told["detail"]
    assert len(receiver.received) == 1


def test_an_exchange_that_breaks_after_sending_is_unknown_and_sent_again(world, receiver):
    receiver.answer(Answer(drop=True))
    step(world, day(2))
    step(world, day(2), sent_at=day(2, 1))
    assert attempts(world, receiver.received[0].id) == ["unknown", "sent"]


def test_after_a_day_of_failures_a_delivery_is_given_up_with_the_reason(world, receiver):
    receiver.answer(Answer(503), Answer(503))
    step(world, day(2))
    step(world, day(2), sent_at=day(2) + HORIZON)
    [told] = deliveries(world)
    assert told["state"] == "dead"
    assert told["detail"].startswith("given up: HTTP 503")


def test_one_channel_that_fails_holds_no_other_back(world, receiver):
    world.write_watchlist(WATCHLIST.replace('["file"]', '["hook", "file"]').replace("100", "99"))
    world.write_bars([90, 90])
    step(world, day(2))
    world.write_bars([90, 90, 110])
    receiver.answer(Answer(503))
    step(world, day(3))
    assert {told["channel"]: told["state"] for told in deliveries(world)} == {"hook": "pending", "file": "sent"}


def test_events_of_one_check_and_symbol_arrive_in_order_though_the_first_fails_once(world, receiver):
    receiver.answer(Answer(503))
    world.write_bars([90, 110, 90, 120])
    step(world, day(4))
    step(world, day(4), sent_at=day(5))
    order = [json.loads(message.body)["events"][0]["ts"] for message in receiver.received]
    assert order == ["2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z"]


def test_a_message_sent_late_says_how_late(world, receiver):
    step(world, day(4))
    assert "2 d after the bar was due" in json.loads(receiver.received[0].body)["text"]


def test_the_running_dispatcher_sends_what_it_is_woken_for_and_stops_when_told(world, receiver):
    async def run():
        stopping = asyncio.Event()
        running = asyncio.create_task(parts.dispatcher.run(stopping))
        [watched] = parts.snapshot.watched
        await asyncio.to_thread(parts.pipeline.run_cycle, day(2), watched, watched.markets)
        parts.dispatcher.wake()
        await asyncio.to_thread(receiver.wait_for, 1, 10)
        stopping.set()
        await asyncio.wait_for(running, 10)
        await parts.dispatcher.aclose()

    with world.parts(day(2)) as parts:
        asyncio.run(run())
    assert [told["state"] for told in deliveries(world)] == ["sent"]


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 5), (2, 10), (5, 80), (9, 1280), (10, 1800), (60, 1800)])
def test_waits_double_up_to_half_an_hour_and_are_spread(attempt, seconds):
    waits = [next_wait(attempt, None).total_seconds() for _ in range(50)]
    assert all(seconds / 2 <= wait <= seconds for wait in waits)
    assert len(set(waits)) > 1


def test_a_delivery_that_waits_for_an_earlier_one_keeps_nobody_awake(world, receiver):
    world.write_bars([90, 110, 90, 120])
    receiver.answer(Answer(503, {"retry-after": "3600"}))
    step(world, day(4))
    with world.parts(day(4)) as parts:
        assert parts.outbox.next_due("hook", day(4)) is None
        assert parts.outbox.next_time("hook") == day(4, 1)


def test_what_never_arrived_does_not_start_a_cooldown(world, receiver):
    world.write_watchlist(WATCHLIST.replace('["file"]', '["hook"]') + 'cooldown = "9 bars"\n')
    world.write_bars([90, 90])
    step(world, day(2))
    receiver.answer(Answer(404))
    world.write_bars([90, 90, 110])
    step(world, day(3))
    world.write_bars([90, 90, 110, 90, 110])
    step(world, day(5))
    assert [told["state"] for told in deliveries(world)] == ["sent", "dead"]


def running(world, act):
    """The dispatcher at work while `act` runs in a thread."""

    async def run():
        stopping = asyncio.Event()
        dispatching = asyncio.create_task(parts.dispatcher.run(stopping))
        try:
            await asyncio.to_thread(act, parts)
        finally:
            stopping.set()
            await asyncio.wait_for(dispatching, 20)
            await parts.dispatcher.aclose()

    with world.parts() as parts:
        [watched] = parts.snapshot.watched
        parts.pipeline.run_cycle(assembly.clock(), watched, watched.markets)
        asyncio.run(run())


def test_the_running_dispatcher_tries_again_by_itself(world, receiver):
    receiver.answer(Answer(503))
    running(world, lambda parts: receiver.wait_for(2, 15))
    assert [told["state"] for told in deliveries(world)] == ["sent"]


def test_a_daemon_without_channels_waits_to_be_stopped(tmp_path):
    world = World(tmp_path, WATCHLIST.replace('["file"]', "[]"), CONFIG.split("[channels")[0])
    world.write_bars([90])
    running(world, lambda parts: None)


def test_what_waits_for_a_channel_that_is_gone_ends_after_a_day_with_the_reason(world, receiver):
    receiver.answer(Answer(503))
    step(world, day(2))
    world.config.write_text(CONFIG)
    world.write_watchlist(WATCHLIST)
    step(world, day(2), sent_at=day(2, 12))
    assert [told["state"] for told in deliveries(world) if told["channel"] == "hook"] == ["pending"]
    step(world, day(2), sent_at=day(4))
    [told] = [told for told in deliveries(world) if told["channel"] == "hook"]
    assert (told["state"], told["detail"]) == ("dead", "given up: the channel is not configured any more")


class Faulty:
    """A channel with a bug: in `seal`, or else in `deliver`."""

    name = "hook"

    def __init__(self, where):
        self.where = where

    def seal(self, message):
        if self.where == "seal":
            raise ValueError("a bug")
        return b"sealed"

    async def deliver(self, message_id, payload, now):
        raise ValueError("a bug")

    async def aclose(self):
        pass


@pytest.mark.parametrize(
    ("where", "state", "outcome"), [("seal", "dead", "permanent"), ("deliver", "pending", "unknown")]
)
def test_a_bug_of_a_channel_ends_in_a_recorded_outcome(world, where, state, outcome):
    with world.parts(day(2)) as parts:
        [watched] = parts.snapshot.watched
        parts.pipeline.run_cycle(day(2), watched, watched.markets)
        asyncio.run(Dispatcher(parts.outbox, {"hook": Faulty(where)}, lambda: day(2)).drain())
    [told] = deliveries(world)
    assert told["state"] == state
    assert attempts(world, told["batch_id"]) == [outcome]
