"""Kill -9 at any step, and nothing is lost, told twice without need, or other than if it had never happened.

`python -m tests.crash.storm --every-point --kills 50` kills everywhere; here is the short version.
"""

import random
import signal
import sys
import time

import pytest

from tests.crash.harness import Laboratory
from tests.receivers import Answer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a forked child of a loaded process is safe on Linux")

PLACES = {
    "before the bars are committed": {"name": "bars: COMMIT after UPDATE holes 'filled'"},
    "after the bars are committed": {"name": "bars: COMMIT after UPDATE holes 'filled'", "after": True},
    "between two events": {"name": "state: INSERT events", "nth": 5},
    "before the events are committed": {"name": "state: COMMIT after INSERT deliveries"},
    "after the events are committed": {"name": "state: COMMIT after INSERT deliveries", "after": True},
    "before a claim is committed": {"name": "state: COMMIT after INSERT attempts", "nth": 3},
    "after a claim is committed": {"name": "state: COMMIT after INSERT attempts", "nth": 3, "after": True},
    "before a line is on disk": {"name": "file: sync", "nth": 2},
    "before a request leaves": {"name": "hook: send", "nth": 5},
    "within a request": {"name": "hook: second half of a send", "nth": 6},
    "before a reply is read": {"name": "hook: receive", "nth": 3},
    "after a reply is read": {"name": "hook: receive", "nth": 3, "after": True},
    "before an outcome is committed": {"name": "state: COMMIT after UPDATE deliveries 'sent'", "nth": 4},
    "after an outcome is committed": {"name": "state: COMMIT after UPDATE deliveries 'sent'", "nth": 4, "after": True},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_kill_leaves_no_mark(laboratory: Laboratory, place: dict[str, object]) -> None:
    with laboratory.world() as world:
        assert world.once(**place), f"it never came there, but to {sorted(set(world.trail()))}"
        world.once()
        account = world.account(laboratory.unharmed().remembered)
    assert account.faults == []


@pytest.mark.parametrize(
    "name", ["bars: CREATE UNIQUE", "state: CREATE TABLE", "state: COMMIT after INSERT check_states"]
)
def test_a_first_start_that_is_killed_begins_again(laboratory: Laboratory, name: str) -> None:
    with laboratory.world(armed=False) as world:
        assert world.once(name=name), f"it never came there, but to {sorted(set(world.trail()))}"
        world.once()
        account = world.account(laboratory.unharmed(armed=False).remembered)
    assert account.faults == []


def test_a_message_in_flight_is_sent_again_as_it_was(laboratory: Laboratory) -> None:
    with laboratory.world() as world:
        world.receiver.answer(Answer(), Answer(delay=60))
        command = world.start("once")
        world.receiver.wait_for(2)
        world.kill(command)
        world.once()
        account = world.account(laboratory.unharmed().remembered)
        _, first, second, *_ = world.receiver.received
    assert account.faults == []
    assert (first.id, first.sha256) == (second.id, second.sha256)
    assert world.receiver.copies.total() == len(world.receiver.copies) + 1


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_while_taking_up_what_was_in_flight_leaves_no_mark(laboratory: Laboratory, after: bool) -> None:
    with laboratory.world() as world:
        assert world.once(name="hook: receive")
        assert world.once(name="state: COMMIT after UPDATE deliveries 'pending'", nth=2, after=after)
        world.once()
        account = world.account(laboratory.unharmed().remembered)
    assert account.faults == []


def test_daemons_killed_at_random_leave_no_mark(laboratory: Laboratory) -> None:
    with laboratory.world() as world:
        days = world.survive(3, random.Random(3), laboratory.unharmed().seconds)
        world.once()
        account = world.account(laboratory.unharmed(days).remembered)
    assert account.faults == []
    assert account.totals["kills"] == 3


def test_a_line_that_a_kill_tore_does_not_take_the_next_with_it(laboratory: Laboratory) -> None:
    with laboratory.world() as world:
        assert world.once(name="file: second half of a write", nth=2)
        world.once()
        account = world.account(laboratory.unharmed().remembered)
    assert account.faults == []
    assert account.totals["torn lines"] == 1


def test_sigterm_lets_a_slow_send_finish(laboratory: Laboratory) -> None:
    with laboratory.world() as world:
        world.receiver.answer(Answer(delay=1))
        daemon = world.start("run")
        world.receiver.wait_for(1)
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
        assert len(world.receiver.received) == 1
        world.once()
        account = world.account(laboratory.unharmed().remembered)
    assert account.faults == []
    assert account.totals["copies"] == account.totals["unknown outcomes"] == 0


def test_a_second_process_on_a_store_gives_up_at_once(laboratory: Laboratory) -> None:
    with laboratory.world() as world:
        world.receiver.answer(Answer(delay=60))
        first = world.start("run")
        world.receiver.wait_for(1)
        began = time.monotonic()
        second = world.start("run")
        assert second.wait() == 75
        assert time.monotonic() - began < 2
        assert "another Barwatch is using" in (world.folder / "log").read_text()
        world.kill(first)
