import asyncio
import os
import signal
import threading
from datetime import timedelta

import pytest

from monitor import assembly
from monitor.config.snapshot import load_snapshot
from monitor.daemon import LONGEST_RETRY, Daemon, wait_before_retry
from monitor.errors import StoreInUse
from monitor.telemetry import set_up_logging
from tests.flaky import Flaky, bars
from tests.receivers import Answer
from tests.worlds import CONFIG, START, WATCHLIST, World


@pytest.fixture
def world(tmp_path, receiver):
    """A world whose bars end with yesterday's, so that the newest due bar is there or is not."""
    hook = f'\n[channels.hook]\nkind = "webhook"\nurl = "{receiver.url}"\nallow_private = true\n'
    world = World(tmp_path, WATCHLIST.replace('["file"]', '["hook"]'), CONFIG + hook)
    set_up_logging("error")
    return world


def closes(*, high):
    """A close for each day up to yesterday, the last of them high or low."""
    days = (assembly.clock() - START).days
    return [90.0] * (days - 1) + [110.0 if high else 90.0]


def run_while(world, act):
    """Run the daemon in this process until `act`, in a thread of its own, has ended; then SIGTERM it."""
    failures = []

    def acting():
        try:
            act()
        except Exception as error:  # told to the test below
            failures.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    with world.parts() as parts:
        thread = threading.Thread(target=acting)

        async def running():
            thread.start()
            await asyncio.wait_for(Daemon(parts, retry=timedelta(milliseconds=200)).run(), 30)

        asyncio.run(running())
        thread.join(10)
    assert failures == []


def test_a_newer_file_dropped_into_the_folder_is_evaluated_and_told(world, receiver):
    whole = closes(high=True)
    world.write_bars(whole[:-1])

    def drop_the_missing_bar():
        assert not receiver.received
        world.write_bars(whole)
        receiver.wait_for(1, 20)

    with world.parts() as parts:
        assembly.once(parts, assembly.clock())
    run_while(world, drop_the_missing_bar)
    assert len(receiver.received) == 1


def test_a_bar_missed_while_it_was_down_is_told_at_the_start(world, receiver):
    whole = closes(high=True)
    world.write_bars(whole[:-1])
    with world.parts() as parts:
        assembly.once(parts, assembly.clock())
    world.write_bars(whole)
    run_while(world, lambda: receiver.wait_for(1, 20))
    assert len(receiver.received) == 1


def test_a_stop_lets_the_send_under_way_finish(world, receiver):
    whole = closes(high=True)
    world.write_bars(whole[:-1])
    with world.parts() as parts:
        assembly.once(parts, assembly.clock())
    world.write_bars(whole)
    receiver.answer(Answer(delay=1.0))
    run_while(world, lambda: receiver.wait_for(1, 20))
    with world.parts() as parts:
        assert parts.outbox.waiting() == {}
    assert len(receiver.received) == 1


def test_a_retry_that_still_waits_is_joined_by_the_symbols_of_the_next_bar(world):
    world.write_watchlist(WATCHLIST.replace('["BTC-USD"]', '["BTC-USD", "ETH-USD"]'))
    first = Flaky("first", {"1d": bars("BTC-USD", "1d", START, [90.0])})

    async def working(parts):
        [watched] = parts.snapshot.watched
        daemon, stopping = Daemon(parts), asyncio.Event()
        daemon._enqueue("1d 24/7 0", watched, ["ETH-USD"], attempt=7)
        await daemon._closed(watched, "24/7")
        asyncio.get_running_loop().call_later(0, stopping.set)  # while the cycle is under way
        await asyncio.wait_for(daemon._work(stopping), 30)

    with assembly.assembled(load_snapshot(world.config), [first]) as parts:
        asyncio.run(working(parts))
    assert [sorted(since) for _, since in first.asked] == [["BTC-USD", "ETH-USD"]]


def test_a_second_process_on_one_store_is_refused(world):
    world.write_bars([90])
    with world.parts(), pytest.raises(StoreInUse), world.parts():
        pass


def test_once_reports_each_timeframe_and_drains_the_outbox(world, receiver):
    world.write_bars(closes(high=False))
    with world.parts() as parts:
        [cycle] = assembly.once(parts, assembly.clock())
    assert cycle.receipt()["evaluated"] == 1
    assert cycle.receipt()["missing"] == {}


def test_a_bar_that_never_comes_is_looked_for_at_the_same_pace_for_ever():
    assert [wait_before_retry(attempt) for attempt in (5, 60, 100_000)] == [LONGEST_RETRY] * 3
