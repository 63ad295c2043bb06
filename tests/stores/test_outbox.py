from contextlib import closing

import pytest

from monitor.core.checks import Check
from monitor.core.classify import Method
from monitor.core.evaluate import Memory
from monitor.core.events import Event, EventKind
from monitor.core.policy import Decision, Reason, Severity
from monitor.stores.database import Database
from monitor.stores.history import History
from monitor.stores.outbox import Outbox, Outcome
from monitor.stores.state import Commit, StateStore
from tests.worlds import day

NOW = day(10)
CHECK = Check(Method()).digest


@pytest.fixture
def database(tmp_path):
    with closing(Database(tmp_path / "state.db", "state")) as opened:
        yield opened


def event(number, symbol="X"):
    kind = EventKind.BECAME_TRUE
    return Event(CHECK, symbol, "1d", day(number), day(number + 1), kind, {"close": 1.5}, {"close > 1": True})


def commit(database, *events, reason=Reason.TELL, channels=("hook",)):
    decisions = [Decision(channel, reason, "so", Severity.WARNING, "high", ("us",)) for channel in channels]
    decided = [(one, "high", one.closed_at, decisions) for one in events]
    StateStore(database).commit(Commit("1d", "method", Memory(), decided, {"X": "files"}, "config", NOW))


def states(database):
    return [told["state"] for told in reversed(History(database).deliveries())]


def test_a_delivery_comes_back_with_its_whole_event(database):
    commit(database, event(1))
    due = Outbox(database).next_due("hook", NOW)
    assert due.event == event(1)
    assert (due.check, due.watchlists, due.severity, due.provider) == ("high", ("us",), "warning", "files")


def test_committing_the_same_events_again_changes_nothing(database):
    commit(database, event(1))
    before = database.rows("SELECT * FROM events"), database.rows("SELECT * FROM deliveries")
    commit(database, event(1))
    assert (database.rows("SELECT * FROM events"), database.rows("SELECT * FROM deliveries")) == before


def test_a_sent_delivery_is_not_due_again(database):
    commit(database, event(1))
    outbox = Outbox(database)
    due = outbox.next_due("hook", NOW)
    assert outbox.claim(due, b"bytes", NOW)
    assert outbox.record(due, Outcome.SENT, "HTTP 200", NOW)
    assert outbox.next_due("hook", NOW) is None
    assert states(database) == ["sent"]


def test_a_suppressed_delivery_is_never_due(database):
    commit(database, event(1), reason=Reason.COOLDOWN)
    assert Outbox(database).next_due("hook", NOW) is None
    assert states(database) == ["suppressed"]


def test_the_second_to_claim_a_delivery_loses(database):
    commit(database, event(1))
    outbox = Outbox(database)
    due = outbox.next_due("hook", NOW)
    assert outbox.claim(due, b"bytes", NOW)
    assert not outbox.claim(due, b"other", NOW)
    assert database.rows("SELECT payload FROM batches") == [(b"bytes",)]


def test_the_attempt_is_stored_before_its_outcome_is_known(database):
    commit(database, event(1))
    outbox = Outbox(database)
    outbox.claim(outbox.next_due("hook", NOW), b"bytes", NOW)
    assert database.rows("SELECT number, outcome FROM attempts") == [(1, None)]


def test_a_failed_delivery_is_due_again_at_its_time_with_the_sealed_bytes(database):
    commit(database, event(1))
    outbox = Outbox(database)
    due = outbox.next_due("hook", NOW)
    outbox.claim(due, b"sealed", NOW)
    outbox.record(due, Outcome.TRANSIENT, "HTTP 503", NOW, not_before=day(11))
    assert outbox.next_due("hook", NOW) is None
    assert outbox.next_time("hook") == day(11)
    again = outbox.next_due("hook", day(11))
    assert (again.payload, again.batch, again.attempts) == (b"sealed", due.batch, 1)


def test_what_was_in_flight_when_a_process_ended_is_unknown_and_due_again(database):
    commit(database, event(1))
    outbox = Outbox(database)
    outbox.claim(outbox.next_due("hook", NOW), b"bytes", NOW)
    assert outbox.sweep("hook", NOW) == 1
    assert database.rows("SELECT outcome FROM attempts") == [("unknown",)]
    assert outbox.next_due("hook", NOW).attempts == 1


def test_a_permanent_failure_is_dead_and_visible(database):
    commit(database, event(1))
    outbox = Outbox(database)
    due = outbox.next_due("hook", NOW)
    outbox.claim(due, b"bytes", NOW)
    outbox.record(due, Outcome.PERMANENT, "HTTP 404", NOW)
    [told] = History(database).deliveries(state="dead")
    assert told["detail"] == "HTTP 404"


def test_a_late_outcome_of_a_swept_attempt_moves_nothing(database):
    commit(database, event(1))
    outbox = Outbox(database)
    due = outbox.next_due("hook", NOW)
    outbox.claim(due, b"bytes", NOW)
    outbox.sweep("hook", NOW)
    assert not outbox.record(due, Outcome.SENT, "HTTP 200", NOW)
    assert states(database) == ["pending"]


def test_an_event_never_overtakes_an_earlier_one_of_its_check_and_symbol(database):
    commit(database, event(1), event(2), event(2, symbol="Y"))
    outbox = Outbox(database)
    first = outbox.next_due("hook", NOW)
    outbox.claim(first, b"bytes", NOW)
    outbox.record(first, Outcome.TRANSIENT, "HTTP 503", NOW, not_before=day(11))
    other = outbox.next_due("hook", NOW)
    assert other.event.symbol == "Y"
    outbox.claim(other, b"bytes", NOW)
    outbox.record(other, Outcome.SENT, "", NOW)
    assert outbox.next_due("hook", NOW) is None


def test_channels_do_not_wait_for_each_other(database):
    commit(database, event(1), channels=("hook", "log"))
    outbox = Outbox(database)
    outbox.claim(outbox.next_due("hook", NOW), b"bytes", NOW)
    assert outbox.next_due("log", NOW) is not None
    assert outbox.waiting() == {"hook": 1, "log": 1}


def test_history_narrows_by_symbol_channel_state_and_time(database):
    commit(database, event(1), event(5, symbol="Y"), channels=("hook", "log"))
    history = History(database)
    assert [one["symbol"] for one in history.events()] == ["Y", "X"]
    assert [one["symbol"] for one in history.events(since=day(5))] == ["Y"]
    assert len(history.deliveries(channel="log", symbol="X", state="pending")) == 1
    assert history.deliveries(channel="none") == []
    assert history.events(limit=1)[0]["ts"] == day(5)
