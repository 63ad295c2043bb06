import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.classify import BarClass, Method, named, sign
from tests.core import plain
from tests.core.conftest import bar, frame


def classes(bars, method=Method()):
    return frame("X", bars).select(sign(method).alias("sign")).to_series().to_list()


def test_a_close_above_the_previous_high_is_a_real_bull():
    assert classes([(1, 3, 1, 2, 0), (2, 4, 2, 3.01, 0)]) == [None, 1]


def test_a_close_below_the_previous_low_is_a_real_bear():
    assert classes([(2, 3, 2, 2, 0), (2, 2, 1, 1.99, 0)]) == [None, -1]


def test_a_close_equal_to_the_previous_high_is_fake():
    assert classes([(1, 3, 1, 2, 0), (2, 4, 2, 3, 0)]) == [None, 0]


def test_with_range_body_a_close_beyond_the_body_but_within_the_wicks_is_real():
    bars = [(2, 9, 1, 3, 0), (3, 5, 3, 4, 0)]
    assert classes(bars, Method(range="body")) == [None, 1]
    assert classes(bars) == [None, 0]


def test_each_symbol_has_its_own_first_bar():
    both = pl.concat([frame("A", [(1, 1, 1, 1, 0)] * 2), frame("B", [(9, 9, 9, 9, 0)] * 2)])
    assert both.select(sign(Method()).alias("s"))["s"].to_list() == [None, 0, None, 0]


def test_signs_have_names():
    names = pl.DataFrame({"s": [1, -1, 0, None]}, {"s": pl.Int8}).select(named(pl.col("s")))["s"].to_list()
    assert names == [BarClass.REAL_BULL, BarClass.REAL_BEAR, BarClass.FAKE, BarClass.UNCLASSIFIED]


def test_a_bar_with_too_little_volume_is_fake_once_twenty_volumes_are_known():
    rising = [(i, i + 0.5, i, i + 0.5, 100.0) for i in range(1, 21)]
    thin = (21.0, 21.5, 21.0, 21.5, 40.0)
    assert classes([*rising, thin], Method(min_volume_ratio=0.5))[-1] == 0
    assert classes([*rising[10:], thin], Method(min_volume_ratio=0.5))[-1] == 1


@given(st.lists(bar(), min_size=1, max_size=60), st.booleans(), st.sampled_from([None, 0.5, 1.0]))
def test_classes_equal_a_plain_reading_of_the_rules(bars, body, ratio):
    method = Method(range="body" if body else "wicks", min_volume_ratio=ratio)
    assert classes(bars, method) == plain.classes(bars, body=body, min_volume_ratio=ratio)


def test_classes_of_real_bars_equal_a_plain_reading_of_the_rules(real_bars):
    found = real_bars.select("symbol", sign(Method()).alias("sign"))
    for (symbol,), rows in real_bars.group_by("symbol"):
        bars = rows.select("open", "high", "low", "close", "volume").rows()
        assert found.filter(pl.col("symbol") == symbol)["sign"].to_list() == plain.classes(bars)
