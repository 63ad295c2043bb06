import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.adjust import RATIOS, Split, undo_splits
from monitor.core.bars import PRICES
from monitor.core.revise import Change, compare, even_out, find_jump, find_spikes
from tests.core.conftest import bar, frame

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number):
    return START + timedelta(days=number)


def flat(*closes):
    return frame("X", [(close, close, close, close, 8.0) for close in closes])


def times(bars, ratio, volume=1.0):
    return bars.with_columns(pl.col(*PRICES) * ratio, pl.col("volume") * volume)


def with_close(bars, row, close):
    here = pl.int_range(pl.len()) == row
    bars = bars.with_columns(close=pl.when(here).then(close).otherwise("close"))
    return bars.with_columns(high=pl.max_horizontal("high", "close"), low=pl.min_horizontal("low", "close"))


OLD = frame("X", [(100, 103, 99, 101, 5), (101, 102, 97, 98, 6), (98, 104, 98, 103, 0), (103, 105, 101, 102, 7)])
FEW_BARS = st.lists(bar(), min_size=2, max_size=6).map(lambda bars: frame("X", bars))
NAMED = [Split(day(4), Fraction(2))]


# What a source has changed


@settings(deadline=None)
@given(FEW_BARS)
def test_bars_given_again_as_they_were_are_the_same(bars):
    found = compare(bars, bars, [])
    assert (found.change, found.ratio, found.changed.height) == (Change.SAME, 1.0, 0)


@settings(deadline=None)
@given(FEW_BARS, st.sampled_from([ratio for ratio in RATIOS if 1 / 40 < ratio < 40]))
def test_bars_that_all_moved_by_a_splits_ratio_are_rescaled(bars, ratio):
    bars = times(bars, 10)
    found = compare(bars, times(bars, float(ratio), float(1 / ratio)), [])
    assert (found.change, found.changed.height) == (Change.RESCALED, 0)
    assert found.ratio == pytest.approx(float(ratio))


@settings(deadline=None)
@given(FEW_BARS, FEW_BARS, st.sampled_from([2.0**n for n in (-6, -3, 5, 9)]))
def test_the_verdict_does_not_depend_on_the_scale_of_both(stored, now, scale):
    one, other = compare(stored, now, []), compare(times(stored, scale), times(now, scale), [])
    assert (one.change, one.changed["ts"].to_list()) == (other.change, other.changed["ts"].to_list())


@settings(deadline=None)
@given(st.integers(0, 3), st.floats(0.002, 0.2), st.booleans())
def test_a_single_bar_that_moved_is_corrected_and_named(row, by, up):
    close = OLD["close"][row] * (1 + by if up else 1 - by)
    found = compare(OLD, with_close(OLD, row, close), [])
    assert (found.change, found.changed["ts"].to_list()) == (Change.CORRECTED, [day(row)])
    assert f"{day(row):%Y-%m-%d}" in found.why
    assert found.changed["close"].item() == close


@pytest.mark.parametrize("move", [0.97, 0.995, 0.999, 0.9995, 1.0008], ids=str)
def test_a_small_move_of_all_bars_by_one_ratio_is_a_new_scale_and_no_correction(move):
    found = compare(OLD, times(OLD, move), [])
    assert (found.change, found.changed.height) == (Change.RESCALED, 0)
    assert found.ratio == pytest.approx(move, rel=1e-9)


@pytest.mark.parametrize("ratio", [1 / 7, 1 / 3, 0.97])
def test_a_new_scale_is_told_though_prices_are_rounded_to_cents(ratio):
    cheap = times(OLD, 0.05)
    found = compare(cheap, times(cheap, ratio).with_columns(pl.col(*PRICES).round(2)), [])
    assert (found.change, found.changed.height) == (Change.RESCALED, 0)
    assert found.ratio == pytest.approx(ratio, rel=0.01)


def test_differences_of_a_thousandth_and_of_volume_are_minor_and_taken():
    now = with_close(OLD, 1, 98.09).with_columns(volume=pl.Series([5.0, 6, 3, 7]))
    found = compare(OLD, now, [])
    assert (found.change, found.changed["ts"].to_list()) == (Change.MINOR, [day(1), day(2)])


def test_a_volume_that_is_not_known_is_none():
    unknown = OLD.with_columns(volume=pl.when(pl.col("volume") > 0).then("volume"))
    assert unknown["volume"].null_count() == 1
    assert compare(OLD, unknown, []).change is compare(unknown, OLD, []).change is Change.SAME


def test_the_noise_of_short_floats_is_nothing():
    assert (
        compare(OLD, OLD.with_columns(pl.col(*PRICES).cast(pl.Float32).cast(pl.Float64) * (1 + 1e-7)), []).change
        is Change.SAME
    )


@pytest.mark.parametrize("ratio", [100, 0.01, 1000])
def test_another_unit_is_doubtful_unless_a_split_is_named(ratio):
    named = [Split(day(4), 1 / Fraction(ratio).limit_denominator(1000))]
    assert compare(OLD, times(OLD, ratio), []).change is Change.DOUBTFUL
    assert compare(OLD, times(OLD, ratio), NAMED).change is Change.DOUBTFUL
    assert compare(OLD, times(OLD, ratio), named).change is Change.RESCALED


@pytest.mark.parametrize(
    ("stored", "now", "change", "ratio", "changed"),
    [
        (flat(100, 101, 102, 51), flat(50, 50.5, 51, 51), Change.RESCALED, 0.5, [3]),
        (flat(100, 101, 102, 103), flat(50, 50.5, 51.25, 51.5), Change.RESCALED, 0.5, [2]),
        (flat(100, 101, 102, 103), flat(49, 50.5, 51, 51.5), Change.RESCALED, 0.5, [0]),
        (flat(100, 101, 102, 103), flat(98, 101, 102, 103), Change.CORRECTED, 1, [0]),
        (flat(100, 101, 102, 103), flat(100, 101, 51, 51.5), Change.DOUBTFUL, 1, [2, 3]),
        (flat(100, 101, 102, 103), flat(100, 50.5, 102, 103), Change.DOUBTFUL, 1, [1]),
        (flat(100, 50.5, 102, 103), flat(100, 101, 102, 103), Change.CORRECTED, 1, [1]),
        (flat(50, 50.5, 51, 103), flat(100, 101, 102, 103), Change.RESCALED, 2, [3]),
        (flat(100, 101, 102, 103), flat(20, 31, 17, 23), Change.DOUBTFUL, 1, [0, 1, 2, 3]),
        (flat(100, 101, 102, 103), flat(108, 112, 125, 121), Change.DOUBTFUL, 1, [0, 1, 2, 3]),
        (flat(100, 51, 51, 51), flat(100, 101, 51, 51), Change.DOUBTFUL, 1, [1]),
        (flat(100, 101, 102, 103), flat(100.2, 101.303, 102.4284, 103.1), Change.CORRECTED, 1, [0, 1, 2, 3]),
        (flat(100, 101, 102, 103), flat(100.3, 100.7, 102.7, 102.5), Change.CORRECTED, 1, [0, 1, 2, 3]),
    ],
    ids=[
        "a split told late", "a split and a correction", "a split and a correction of the oldest", "a correction",
        "old shares again", "one bar on old shares", "one bar brought to new shares", "a split taken back",
        "another company", "another company of like price", "a drop put off", "each a little more", "another source",
    ],
)  # fmt: skip
def test_what_two_of_the_three_oldest_bars_agree_on_is_the_scale(stored, now, change, ratio, changed):
    found = compare(stored, now, [])
    assert (found.change, found.ratio) == (change, ratio)
    assert found.changed["ts"].to_list() == [day(row) for row in changed]


@pytest.mark.parametrize(
    ("now", "splits", "change"),
    [
        (100, [], Change.SAME),
        (98, [], Change.CORRECTED),
        (50, NAMED, Change.RESCALED),
        (50, [], Change.DOUBTFUL),
        (100, NAMED, Change.SAME),
    ],
)
def test_a_lone_bar_is_on_a_new_scale_only_if_a_split_says_so(now, splits, change):
    assert compare(flat(100), flat(now), splits).change is change


@pytest.mark.parametrize("low", [20.0, 0.99])
def test_a_stray_low_of_the_oldest_bar_is_doubtful_and_its_repair_is_a_correction(low):
    stray = OLD.with_columns(low=pl.when(pl.col("ts") == START).then(low).otherwise("low"))
    assert compare(OLD, stray, []).change is Change.DOUBTFUL
    assert compare(stray, OLD, []).change is Change.CORRECTED


def test_a_new_scale_is_named_after_the_newest_split_like_it():
    often = [Split(day(year * 365), Fraction(2)) for year in (-3, 0, -1)]
    assert compare(OLD, times(OLD, 0.5), often).why == "a split of 2 on 2026-01-01"


def test_two_splits_at_once_are_named_together():
    both = [Split(day(4), Fraction(2)), Split(day(5), Fraction(3))]
    assert compare(flat(60), flat(10), both).ratio == pytest.approx(1 / 6)


def test_bars_without_a_common_label_are_the_same():
    assert compare(OLD.head(2), OLD.tail(2), []).change is Change.SAME


def test_one_tick_of_a_cheap_share_is_no_new_scale():
    assert compare(flat(0.2, 0.2, 0.2), flat(0.21, 0.21, 0.21), []).change is Change.CORRECTED


# Splits that a source has not worked in yet


@given(FEW_BARS.filter(lambda bars: bars.height > 2), st.sampled_from([r for r in RATIOS if abs(math.log(r)) > 0.2]))
@settings(max_examples=60, deadline=None)
def test_bars_before_a_split_are_brought_to_the_scale_after_it_once(bars, ratio):
    smooth = bars.with_columns(pl.col(*PRICES) * 0.001 + 1)
    split = Split(smooth["ts"][-1], ratio)
    raw = undo_splits(smooth, [Split(split.ts, 1 / ratio)])
    evened = even_out(raw, [split])
    assert evened.select(PRICES).to_numpy() == pytest.approx(smooth.select(PRICES).to_numpy())
    assert even_out(evened, [split]).equals(evened)
    assert even_out(smooth, [split]).equals(smooth)


def test_volume_is_evened_out_the_other_way():
    assert even_out(flat(100, 100, 50), [Split(day(2), Fraction(2))])["volume"].to_list() == [16, 16, 8]


@pytest.mark.parametrize(
    "bars",
    [flat(100, 50, 52), flat(100, 101, 50)],
    ids=["worked in a bar early", "worked in on the day"],
)
def test_a_split_is_evened_out_where_its_step_is(bars):
    evened = even_out(bars, [Split(day(2), Fraction(2))])
    assert max(evened["close"]) < 53


def test_a_step_up_by_the_ratio_is_a_split_undone_once_too_often():
    assert even_out(flat(200, 202, 100), [Split(day(2), Fraction(1, 2))])["close"].to_list() == [100, 101, 100]


def test_a_fall_in_the_days_after_a_small_split_is_a_fall():
    bars = flat(*[100] * 10, *[80] * 5)
    assert even_out(bars, [Split(day(6), Fraction(5, 4))]).equals(bars)


def test_a_split_into_no_shares_is_none():
    assert even_out(OLD, [Split(day(2), Fraction(0))]).equals(OLD)


@pytest.mark.parametrize(
    ("bars", "split"),
    [
        (flat(100, 50, 100, 100), Split(day(3), Fraction(2))),
        (flat(100, 100, 50), Split(day(14), Fraction(2))),
        (flat(100, 100, 30), Split(day(2), Fraction(2))),
        (flat(100, 100, 90), Split(day(2), Fraction(11, 10))),
        (flat(100, 100, 100), Split(day(2), Fraction(2))),
        (flat(), Split(day(2), Fraction(2))),
    ],
    ids=["there and back", "two weeks away", "much more", "too small a split", "no step", "no bars"],
)
def test_what_is_not_one_step_like_the_split_is_left_alone(bars, split):
    assert even_out(bars, [split]).equals(bars)


# Bars that no market explains

CALM = flat(*[100, 101, 100, 99] * 5)
HOURS = CALM.with_columns(
    ts=START + pl.int_range(pl.len()) * timedelta(hours=1),
    closed_at=START + (pl.int_range(pl.len()) + 1) * timedelta(hours=1),
)


def after(bars, *prices, gap=timedelta(0)):
    """Bars of these opens, highs, lows and closes, each beginning as the one before closes."""
    length, first = bars["closed_at"][-1] - bars["ts"][-1], bars["closed_at"][-1] + gap
    rows = [("X", first + i * length, first + (i + 1) * length, *price, 8.0) for i, price in enumerate(prices)]
    return pl.DataFrame(rows, bars.schema, orient="row")


@pytest.mark.parametrize("ratio", [0.5, 2.0, 1 / 3, 2 / 3, 0.05, 20.0], ids=str)
def test_a_step_over_night_like_a_split_is_a_jump(ratio):
    jump = find_jump(
        CALM,
        after(CALM, (100, 100, 100, 100), [100 * ratio] * 4, gap=timedelta(hours=3)).with_columns(
            ts=pl.col("ts") + pl.int_range(pl.len()) * timedelta(hours=3)
        ),
    )
    assert jump is not None
    assert jump.ratio == pytest.approx(ratio)
    assert not jump.pence


@pytest.mark.parametrize("ratio", [0.75, 1.35], ids=str)
def test_a_night_may_bring_a_quarter_down_and_a_third_up(ratio):
    assert find_jump(CALM, after(CALM, [100 * ratio] * 4, gap=timedelta(hours=3))) is None


def test_a_share_that_often_moves_by_a_tenth_may_move_by_half():
    wild = flat(*[10, 11.2] * 10)
    assert find_jump(wild, after(wild, [18.0] * 4, gap=timedelta(hours=3))) is None


def test_what_a_share_did_long_ago_explains_nothing():
    calmed = flat(*[10, 13] * 15, *[10, 10.1] * 10)
    assert find_jump(calmed, after(calmed, [18.0] * 4, gap=timedelta(hours=3)))


def test_a_cheap_share_may_move_by_a_tick():
    cheap = flat(*[0.01] * 20)
    assert find_jump(cheap, after(cheap, [0.02] * 4, gap=timedelta(hours=3))) is None


@pytest.mark.parametrize(
    ("prices", "jumps"),
    [((50, 50, 50, 50), False), ((99, 99, 20, 99), True), ((99, 310, 99, 99), True)],
    ids=["half", "a stray low", "a stray high"],
)
def test_within_a_session_only_what_no_market_does_is_a_jump(prices, jumps):
    assert (find_jump(HOURS, after(HOURS, prices)) is not None) == jumps


@pytest.mark.parametrize("ratio", [100.0, 0.01])
def test_pence_are_told(ratio):
    jump = find_jump(CALM, after(CALM, [99 * ratio] * 4))
    assert jump is not None
    assert jump.pence
    assert jump.ratio == pytest.approx(ratio)


def test_nothing_fresh_or_nothing_before_is_no_jump():
    assert find_jump(CALM, CALM.head(0)) is None
    assert find_jump(CALM.head(0), CALM) is None


def test_each_real_split_and_crash_of_thirteen_years_is_a_jump_and_no_other_bar(real_bars):
    found = set()
    for shares in real_bars.partition_by("symbol"):
        leap = ((pl.col("open") / pl.col("close").shift(1)).log().abs() > 0.3).fill_null(value=False)
        for row in shares.with_row_index().filter(leap)["index"]:
            if jump := find_jump(shares.head(row), shares.slice(row, 1)):
                found.add((shares["symbol"][0], f"{jump.ts:%Y-%m-%d}", round(jump.ratio, 2)))
    splits = {("AAPL", "2000-06-21", 0.5), ("AAPL", "2005-02-28", 0.5), ("MSFT", "2003-02-18", 0.51)}
    assert found == splits | {("AAPL", "2000-09-29", 0.53)}


# Histories given for the first time


@pytest.mark.parametrize(
    ("closes", "wrong"),
    [
        ([100, 101, 100, 99, 100], []),
        ([100, 101, 1, 99, 100], [2]),
        ([10000, 10100, 100, 99, 100], [0, 1]),
        ([100, 1, 1, 1, 100, 100, 99, 101], [1, 2, 3]),
        ([100, 101, 100, 99, 1], [4]),
        ([100, 101, 50, 99, 100], [2]),
        ([100, 101, 50, 49, 50], []),
        ([100, 101, 50, 75, 74], []),
        ([], []),
    ],
    ids=[
        "calm", "pence", "older pence", "a run of pence", "newest in pence", "half and back", "half", "half way back",
        "no bars",
    ],
)  # fmt: skip
def test_bars_in_another_unit_and_bars_off_both_neighbours_are_found(closes, wrong):
    assert [spike.ts for spike in find_spikes(flat(*closes))] == [day(row) for row in wrong]


def test_one_stray_price_is_a_spike():
    bars = frame("X", [(100, 101, 99, 100, 1), (100, 101, 10.1, 100, 1), (100, 101, 99, 100, 1)])
    [spike] = find_spikes(bars)
    assert (spike.ts, spike.ratio) == (day(1), pytest.approx(0.101))


def test_the_sample_histories_have_no_spike(real_bars):
    assert [spike for shares in real_bars.partition_by("symbol") for spike in find_spikes(shares)] == []
