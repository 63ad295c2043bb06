import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from monitor.core import trend
from monitor.core.classify import BarClass, Method, sign
from monitor.core.confirm import Confirmed
from monitor.core.evaluate import TRENDS
from monitor.core.trend import TrendState
from tests.core import plain

FRESH = pl.LazyFrame(schema=TRENDS)
BULL, BEAR, FAKE = BarClass.REAL_BULL, BarClass.REAL_BEAR, BarClass.FAKE
CLASSES = st.lists(st.sampled_from([1, -1, 0]), min_size=1, max_size=60)
METHODS = st.builds(Method, confirmation=st.integers(1, 10), fakes=st.sampled_from(["ignore", "break"]))


def states(signs, method=Method(), machines=FRESH):
    frame = pl.LazyFrame({"symbol": ["X"] * len(signs), "sign": signs}, {"symbol": pl.String, "sign": pl.Int8})
    return trend.run(frame, method, machines).collect()


def stepped(classes, method=Method()):
    machine = Confirmed()
    for bar in classes:
        machine = trend.step(method, machine, bar)
    return trend.STATES[machine.state]


def test_two_consecutive_real_bars_start_a_trend():
    assert stepped([BULL]) is TrendState.NEUTRAL
    assert stepped([BULL, BULL]) is TrendState.BULLISH


def test_fake_bars_between_two_real_bars_neither_count_nor_break():
    assert stepped([BEAR, FAKE, FAKE, BEAR]) is TrendState.BEARISH


def test_a_single_opposite_real_bar_is_a_fluke():
    assert stepped([BULL, BULL, BEAR]) is TrendState.BULLISH
    assert stepped([BULL, BULL, BEAR, BEAR]) is TrendState.BEARISH


def test_where_fakes_break_the_two_real_bars_must_be_adjacent():
    method = Method(fakes="break")
    assert stepped([BULL, FAKE, BULL], method) is TrendState.NEUTRAL
    assert stepped([BULL, FAKE, BULL, BULL], method) is TrendState.BULLISH


def test_the_first_real_bar_against_the_trend_is_an_early_warning_and_the_next_is_not():
    frame = states([1, 1, 0, -1, 0, -1, 1, -1]).with_columns(warning=trend.is_early_warning())
    assert frame["warning"].to_list() == [False, False, False, True, False, False, True, False]


def test_the_first_bar_without_a_class_does_not_move_the_machine():
    assert states([None, 1, 1])["state"].to_list() == [0, 0, 1]


@given(CLASSES, METHODS)
def test_the_vectorised_trend_equals_a_plain_reading_of_the_rules(signs, method):
    expected = plain.trends(signs, confirmation=method.confirmation, fakes=method.fakes)
    assert states(signs, method)["state"].to_list() == expected


@given(CLASSES, METHODS)
def test_the_step_machine_equals_a_plain_reading_of_the_rules(signs, method):
    names = {1: BULL, -1: BEAR, 0: FAKE}
    expected = plain.trends(signs, confirmation=method.confirmation, fakes=method.fakes)[-1]
    assert stepped([names[one] for one in signs], method) is trend.STATES[expected]


@given(CLASSES, CLASSES, METHODS)
def test_a_window_given_the_stored_machine_goes_on_as_the_whole_history_would(before, after, method):
    last = states(before, method).tail(1)
    window = states(after, method, last.select(*TRENDS).lazy())
    whole = states([*before, *after], method).tail(len(after))
    assert window.select("state", "kind", "run").equals(whole.select("state", "kind", "run"))


def test_trends_of_real_bars_equal_a_plain_reading_of_the_rules(real_bars):
    signs = real_bars.lazy().select("symbol", sign(Method()).alias("sign"))
    found = trend.run(signs, Method(), FRESH).collect()
    for (symbol,), rows in real_bars.group_by("symbol"):
        kinds = plain.classes(rows.select("open", "high", "low", "close", "volume").rows())
        assert found.filter(pl.col("symbol") == symbol)["state"].to_list() == plain.trends(kinds)
