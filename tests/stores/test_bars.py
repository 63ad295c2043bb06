from contextlib import closing

import polars as pl
import pytest

from monitor.stores.bars import BarStore, Taken
from monitor.stores.database import Database
from tests.core.conftest import frame
from tests.worlds import day


@pytest.fixture
def store(tmp_path):
    with closing(Database(tmp_path / "bars.db", "bars")) as database:
        yield BarStore(database)


def write(store, frame):
    store.take(Taken("1d", day(9), bars=[frame]))


def bars(symbol, count):
    return frame(symbol, [(i + 1.0, i + 2.0, i + 0.5, i + 1.5, None if i == 0 else 7.0) for i in range(count)])


def test_bars_come_back_as_they_were_written(store):
    written = pl.concat([bars("A", 3), bars("B", 2)])
    write(store, written)
    assert store.newest("1d", ["B", "A"], None).equals(written)


def test_writing_the_same_bars_again_changes_nothing(store):
    write(store, bars("A", 3))
    write(store, bars("A", 3))
    assert store.newest("1d", ["A"], None).equals(bars("A", 3))


def test_a_window_has_the_bars_after_the_cursor_and_so_many_up_to_it(store):
    write(store, bars("A", 6))
    window = store.window("1d", {"A": day(3)}, {"A": 2})
    assert window["ts"].to_list() == [day(2), day(3), day(4), day(5)]


def test_timeframes_are_kept_apart(store):
    write(store, bars("A", 2))
    assert store.newest("1h", ["A"], None).is_empty()


def test_a_replaced_history_leaves_nothing_of_the_old_one(store):
    write(store, bars("A", 6))
    store.take(Taken("1d", day(9), histories={"A": bars("A", 2)}))
    assert store.newest("1d", ["A"], None).equals(bars("A", 2))


def test_the_newest_label_of_each_symbol_with_bars_is_told(store):
    write(store, bars("A", 3))
    assert store.newest_labels("1d", ["A", "GONE"]) == {"A": day(2)}


def test_bars_between_two_labels_are_counted(store):
    write(store, bars("A", 6))
    assert store.between("1d", "A", day(1), day(4)) == 3
