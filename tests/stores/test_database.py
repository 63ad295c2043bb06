import sqlite3
import stat
import threading

import pytest

from monitor.errors import StoreError, StoreInUse, StoreNewer
from monitor.stores import schema
from monitor.stores.database import Database, StateDirectory, from_us, to_us
from tests.worlds import day


@pytest.fixture
def state(tmp_path):
    database = Database(tmp_path / "state.db", "state")
    yield database
    database.close()


def test_an_instant_survives_its_way_through_the_store():
    instant = day(1, 3).replace(microsecond=123456)
    assert from_us(to_us(instant)) == instant


@pytest.mark.parametrize("kind", ["bars", "state"])
def test_a_new_store_is_made_by_its_migrations_up_to_the_known_version(tmp_path, kind):
    database = Database(tmp_path / f"{kind}.db", kind)
    assert database.rows("PRAGMA user_version") == [(schema.VERSIONS[kind],)]
    assert database.rows("SELECT count(*) FROM _sqlite_migrations") == [(schema.VERSIONS[kind],)]
    assert database.rows("PRAGMA journal_mode") == [("wal",)]
    database.close()


def test_every_table_is_strict(state):
    tables = state.rows("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    ours = {name for name, _ in tables if not name.startswith(("sqlite_", "_sqlite"))}
    assert ours == {name for name, strict in tables if strict}
    assert {
        "breakers",
        "cursors",
        "trend_states",
        "check_states",
        "events",
        "deliveries",
        "batches",
        "attempts",
    } == ours


def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSIONS['state'] + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreNewer, match="newer Barwatch") as refused:
        Database(path, "state")
    assert "upgrade" in refused.value.hint
    assert path.read_bytes() == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database, " * 100)
    with pytest.raises(StoreError, match="not a database") as refused:
        Database(path, "state")
    assert "restore" in refused.value.hint
    assert path.read_bytes() == b"not a database, " * 100


def test_a_transaction_that_fails_leaves_nothing(state):
    with pytest.raises(ZeroDivisionError), state.transaction() as connection:
        connection.execute("INSERT INTO cursors VALUES ('1d', 'X', 1)")
        raise ZeroDivisionError
    assert state.rows("SELECT * FROM cursors") == []


def test_a_failing_commit_of_one_thread_does_not_take_anothers_writes_along(state):
    inside, may_end = threading.Event(), threading.Event()

    def other():
        inside.wait(5)
        may_end.set()
        with state.transaction() as connection:
            connection.execute("INSERT INTO cursors VALUES ('1d', 'OTHER', 1)")

    thread = threading.Thread(target=other)
    thread.start()
    with pytest.raises(ZeroDivisionError), state.transaction() as connection:
        inside.set()
        may_end.wait(5)
        connection.execute("INSERT INTO cursors VALUES ('1d', 'MINE', 1)")
        raise ZeroDivisionError
    thread.join(5)
    assert state.rows("SELECT symbol FROM cursors") == [("OTHER",)]


def test_one_process_holds_a_state_directory_and_the_next_is_told(tmp_path):
    directory = StateDirectory(tmp_path).hold()
    with pytest.raises(StoreInUse, match="another Barwatch") as refused:
        StateDirectory(tmp_path).hold()
    assert refused.value.exit_code == 75
    directory.release()
    StateDirectory(tmp_path).hold().release()


def test_a_directory_that_cannot_be_made_is_told_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write the state directory") as refused:
        StateDirectory(tmp_path / "file" / "state").hold()
    assert "state_directory" in refused.value.hint


def test_only_the_owner_may_look_into_the_store(tmp_path):
    directory = StateDirectory(tmp_path / "state").hold()
    directory.open("state").close()
    directory.release()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "state.db").stat().st_mode) == 0o600


def test_a_reader_looks_on_beside_the_writer_and_cannot_write(tmp_path):
    directory = StateDirectory(tmp_path).hold()
    writer = directory.open("state")
    reader = StateDirectory(tmp_path).open("state")
    with writer.transaction() as connection:
        connection.execute("INSERT INTO cursors VALUES ('1d', 'X', 1)")
    assert reader.rows("SELECT symbol FROM cursors") == [("X",)]
    with pytest.raises(StoreError, match="readonly"), reader.transaction() as connection:
        connection.execute("DELETE FROM cursors")
    reader.close()
    writer.close()
    directory.release()


def test_reading_where_there_is_no_store_says_what_to_run(tmp_path):
    with pytest.raises(StoreError, match="there is no store") as refused:
        StateDirectory(tmp_path).open("state")
    assert "barwatch once" in refused.value.hint
