"""What a condition is at each bar: true, false or unknown, per symbol, with each shared part computed once."""

import operator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import talib

from monitor.core.expressions import Program, parse_condition, parse_number
from monitor.core.indicators.registry import Truth, indicator
from monitor.core.nodes import Call, settle

START = datetime(2026, 1, 5, tzinfo=UTC)


def bars(symbol: str = "A", **columns: list[float | None] | list[str | None]) -> pl.DataFrame:
    """Bars of one symbol; prices are 10 and volume is 100 where none are given."""
    height = len(next(iter(columns.values())))
    filled = dict.fromkeys(("open", "high", "low", "close"), [10.0] * height) | {"volume": [100.0] * height} | columns
    texts = {name: filled.pop(name) for name in ("bar", "trend") if name in filled}
    stamps = [START + timedelta(days=day) for day in range(height)]
    return pl.DataFrame(
        {"symbol": [symbol] * height, "ts": stamps}
        | {name: pl.Series(values, dtype=pl.Float64, strict=False) for name, values in filled.items()}
        | {name: pl.Series(values, dtype=pl.String) for name, values in texts.items()}
    )


def walk(symbol: str, height: int, seed: int) -> pl.DataFrame:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, height)))
    return bars(symbol, open=close * 0.99, high=close * 1.02, low=close * 0.98, close=close, volume=close * 7)


def applied(program: Program, frame: pl.DataFrame) -> pl.DataFrame:
    return program.apply(frame.lazy()).collect(engine="in-memory", optimizations=pl.QueryOptFlags.none())


def truth(text: str, frame: pl.DataFrame) -> list[bool | None]:
    condition = parse_condition(text)
    program = Program.of([condition])
    return applied(program, frame)[program.column(condition)].to_list()


def numbers(text: str, frame: pl.DataFrame) -> list[float | None]:
    number = parse_number(text)
    program = Program.of([number])
    return applied(program, frame)[program.column(number)].to_list()


T, F, U = True, False, None
KLEENE = [(a, b) for a in (T, F, U) for b in (T, F, U)]
AS_PRICE = {T: 11.0, F: 9.0, U: None}


def kleene(text: str) -> list[bool | None]:
    """A condition over all pairs of truths: `open > 10` is the first, `volume > 10` the second."""
    frame = bars(open=[AS_PRICE[a] for a, _ in KLEENE], volume=[AS_PRICE[b] for _, b in KLEENE])
    return truth(text, frame)


def test_and_is_false_where_one_side_is_false_and_unknown_where_that_decides() -> None:
    assert kleene("open > 10 and volume > 10") == [T, F, U, F, F, F, U, F, U]


def test_or_is_true_where_one_side_is_true_and_unknown_where_that_decides() -> None:
    assert kleene("open > 10 or volume > 10") == [T, T, T, T, F, U, T, U, U]


def test_not_unknown_is_unknown() -> None:
    assert kleene("not volume > 10") == [F, T, U] * 3


@pytest.mark.parametrize(
    ("sign", "compare"),
    {
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
    }.items(),
)
def test_bar_columns_and_numbers_are_compared_exactly(sign: str, compare) -> None:
    opens, highs = [1.0, 1.0, 1.0, 0.0], [1.0, 1.0 + 2**-52, 1.0 - 2**-53, 5e-324]
    frame = bars(open=opens, high=highs)
    assert truth(f"open {sign} high", frame) == [compare(a, b) for a, b in zip(opens, highs, strict=True)]
    assert truth(f"high {sign} 1", frame) == [compare(b, 1) for b in highs]


@pytest.mark.parametrize(("sign", "holds"), {"<": F, "<=": T, ">": F, ">=": T, "==": T, "!=": F}.items())
def test_numbers_that_differ_by_rounding_count_as_equal(sign: str, holds: bool) -> None:
    frame = bars(open=[0.1], high=[0.2])
    assert truth(f"open + high {sign} 0.3", frame) == [holds]
    assert truth(f"0.3 {sign} open + high", frame) == [holds]


@pytest.mark.parametrize(("sign", "holds"), {"<": F, "<=": F, ">": T, ">=": T, "==": F, "!=": T}.items())
def test_numbers_that_differ_by_more_than_rounding_do_not(sign: str, holds: bool) -> None:
    assert truth(f"open + high {sign} 0.3", bars(open=[0.1], high=[0.2000001])) == [holds]


@pytest.mark.parametrize("price", [10.1, 0.0137, 48123.45])
@pytest.mark.parametrize(
    "average", ["sma(close, 20)", "ema(close, 20)", "wma(close, 20)", "bbands(close, 20, 2).middle"]
)
def test_a_flat_price_is_at_its_average(price: float, average: str) -> None:
    before = [price * (1 + day % 7) for day in range(40)]
    frame = bars(close=before + [price] * 400)
    for text in (
        f"close > {average}",
        f"close < {average}",
        f"crossover(close, {average})",
        f"crossunder(close, {average})",
    ):
        assert not any(truth(text, frame)[-100:])
    assert all(truth(f"close == {average}", frame)[-100:])


def test_slack_grows_with_the_numbers_compared() -> None:
    frame = bars(open=[100000000.1], high=[200000000.2])
    assert 100000000.1 + 200000000.2 != 300000000.3
    assert truth("open + high == 300000000.3", frame) == [T]
    assert truth("open + high == 300000001", frame) == [F]


def test_slack_beside_zero_is_measured_by_the_close() -> None:
    assert 0.1 + 0.2 - 0.3 != 0
    frame = bars(open=[0.1], high=[0.2], close=[10.0])
    assert truth("open + high - 0.3 == 0", frame) == [T]
    assert truth("open + high - 0.3001 == 0", frame) == [F]


def test_the_macd_of_a_flat_price_is_neither_above_nor_below_zero() -> None:
    frame = bars(close=[10.1] * 300)
    assert not any(truth("macd(close, 12, 26, 9).hist > 0 or macd(close, 12, 26, 9).hist < 0", frame)[40:])


def test_a_chain_of_comparisons_holds_where_each_does() -> None:
    assert truth("1 < open < 3", bars(open=[0.0, 1.0, 2.0, 3.0])) == [F, F, T, F]
    assert truth("open < high > low", bars(open=[1.0, 1.0], high=[2.0, 2.0], low=[1.0, 3.0])) == [T, F]


def test_a_division_by_zero_is_unknown() -> None:
    frame = bars(open=[1.0, 0.0, -1.0, 6.0], high=[0.0, 0.0, 0.0, 3.0])
    assert numbers("open / high", frame) == [None, None, None, 2]
    assert truth("open / high > 1", frame) == [U, U, U, T]


def test_a_number_too_large_to_hold_is_unknown() -> None:
    assert numbers("open * open", bars(open=[1e200, 2.0])) == [None, 4]


def test_arithmetic_is_that_of_numbers() -> None:
    assert numbers("-(open + 2) * high - high / 4 - 1", bars(open=[1.0], high=[8.0])) == [-27]


def test_states_are_compared_as_texts_and_unknown_where_missing() -> None:
    frame = bars(bar=["fake", "real_bull", "real_bear"], trend=["bullish", "neutral", None])
    assert truth("bar == 'real_bull'", frame) == [F, T, F]
    assert truth("trend != 'bullish'", frame) == [F, T, U]
    assert truth("trend == 'bullish' or bar == 'real_bear'", frame) == [T, F, T]


def test_windows_never_reach_into_another_symbol() -> None:
    alone = [walk(symbol, 60, seed) for seed, symbol in enumerate("ABC")]
    conditions = [
        parse_condition("crossover(close, sma(close, 5))"),
        parse_condition("ema(rsi(close, 5), 3) > prev(close, 2)"),
    ]
    program = Program.of(conditions)
    together = applied(program, pl.concat(alone))
    assert together.equals(pl.concat([applied(program, frame) for frame in alone]))


def test_a_nested_call_equals_the_wheel_nested() -> None:
    frame = walk("A", 200, 1)
    close = frame["close"].to_numpy()
    expected = talib.EMA(talib.RSI(close, 14), 9)
    np.testing.assert_allclose(np.array(numbers("ema(rsi(close, 14), 9)", frame), float), expected, rtol=1e-12)


def test_a_gap_in_what_is_averaged_is_unknown_and_ends() -> None:
    frame = bars(open=[2.0, 4.0, 6.0, 8.0, 10.0], high=[1.0, 1.0, 0.0, 1.0, 1.0])
    assert numbers("sma(open / high, 2)", frame) == [None, 3, None, 6, 9]
    assert numbers("ema(open / high, 2)", frame)[3:] != [None, None]


def test_a_market_without_volume_is_unknown_and_disturbs_no_other() -> None:
    silent = walk("B", 40, 3).with_columns(volume=pl.lit(None, pl.Float64))
    found = truth("obv() > 0 or obv() <= 0", pl.concat([walk("A", 40, 2), silent, walk("C", 40, 4)]))
    assert found == [T] * 40 + [U] * 40 + [T] * 40


def test_one_bar_without_volume_is_unknown_alone() -> None:
    frame = bars(close=[1.0, 2.0, 3.0, 4.0], volume=[5.0, 5.0, None, 5.0])
    assert numbers("obv()", frame)[2] is None
    assert numbers("obv()", frame)[3] is not None


ALL_FORMS = [
    "rsi(close, 14) < 30 and close > sma(close, 200)",
    "crossover(ema(close, 12), ema(close, 26)) or crossunder(close, 100)",
    "percentrank(bb_width(close, 20, 2), 252) < 5",
    "macd(close, 12, 26, 9).hist > 0 and bars_since(close > open) < 3",
    "1 < 2 and crossover(1, 2)",
]


@pytest.mark.parametrize("height", [0, 1, 2, 5])
def test_too_few_bars_are_unknown_and_no_error(height: int) -> None:
    program = Program.of([parse_condition(text) for text in ALL_FORMS])
    found = applied(program, pl.concat([walk("A", 5, 5).head(height), walk("B", 5, 6)]).head(height))
    assert found.height == height
    assert found["percentrank(bb_width(close, 20, 2), 252) < 5"].null_count() == height


def test_an_optimised_query_gives_the_same() -> None:
    frame = pl.concat([walk("A", 300, 5), walk("B", 5, 6)])
    program = Program.of([parse_condition(text) for text in ALL_FORMS])
    assert program.apply(frame.lazy()).collect(engine="in-memory").equals(applied(program, frame))


def test_the_bars_themselves_are_kept_in_order_with_one_column_for_each_part() -> None:
    frame = pl.concat([walk("B", 30, 7), walk("A", 30, 8)])
    conditions = [parse_condition("rsi(close, 14) < 30"), parse_condition("rsi(close,14.0) < 30 or rsi(close) > 70")]
    found = applied(Program.of(conditions), frame)
    assert found.select(frame.columns).equals(frame)
    assert found.columns[len(frame.columns) :] == [
        "rsi(close, 14)",
        "rsi(close, 14) < 30",
        "rsi(close, 14) > 70",
        "rsi(close, 14) < 30 or rsi(close, 14) > 70",
    ]


def test_fields_of_one_call_are_columns_of_their_own() -> None:
    frame = walk("A", 60, 9)
    condition = parse_condition("macd(close).macd > macd(close).signal")
    found = applied(Program.of([condition]), frame)
    macd, signal, _ = talib.MACD(frame["close"].to_numpy())
    np.testing.assert_allclose(found["macd(close, 12, 26, 9).macd"].to_numpy(), macd, rtol=1e-12)
    np.testing.assert_allclose(found["macd(close, 12, 26, 9).signal"].to_numpy(), signal, rtol=1e-12)


@pytest.mark.parametrize(("text", "expected"), [("close", [7, 8]), ("5", [5, 5]), ("2 * 3", [6, 6])])
def test_a_column_or_a_plain_number_is_an_expression_too(text: str, expected: list[float]) -> None:
    assert numbers(text, bars(close=[7.0, 8.0])) == expected


def test_parts_explain_a_condition_from_the_outside_in() -> None:
    condition = parse_condition("30 < rsi(close) and not macd(close / 2).hist > 0 and trend == 'bullish'")
    program = Program.of([condition])
    shown = program.parts(condition)
    assert list(shown) == [
        "30 < rsi(close, 14)",
        'trend == "bullish"',
        "rsi(close, 14)",
        "macd(close / 2, 12, 26, 9).hist > 0",
        "trend",
        "close",
        "macd(close / 2, 12, 26, 9).hist",
        "close / 2",
    ]
    found = applied(program, bars(close=[1.0], trend=["bullish"]))
    assert set(shown.values()) <= set(found.columns)


LOOKBACKS = {
    "close > open": (0, 0),
    "close > sma(close, 200)": (199, 199),
    "rsi(close, 14) < 30": (14, 574),
    "rsi(close, 14) < 30 and close > sma(close, 200)": (199, 574),
    "sma(sma(close, 10), 20) > 1": (28, 28),
    "prev(ema(close, 9) - ema(close, 19), 3) > 1": (21, 415),
    "close > obv()": (0, None),
    "sma(obv(), 10) > 1 and close > open": (9, None),
    "bars_since(close > sma(close, 10)) > 3": (9, None),
    "trend == 'bullish' and bar == 'fake'": (0, 0),
    "bars_since(trend == 'bullish') > 3": (0, None),
}


@pytest.mark.parametrize(("text", "expected"), LOOKBACKS.items())
def test_lookback_and_settle_add_up_along_nesting_and_the_largest_counts_side_by_side(text: str, expected) -> None:
    condition = parse_condition(text)
    assert (condition.lookback, condition.settle) == expected


def test_a_trend_inside_any_call_is_anchored() -> None:
    @indicator("How often it was true in three bars.", unit="bars", lookback=lambda: 2)
    def often(condition: Truth) -> pl.Expr:
        return condition.cast(pl.Float64).rolling_sum(3)

    def settled(text: str) -> int | None:
        return settle(Call(often, (parse_condition(text).root,), (), ""))

    assert settled("close > sma(close, 5)") == 6
    assert settled("bar == 'fake'") == 2
    assert settled("trend == 'bullish'") is None


def test_only_bar_and_trend_read_the_method() -> None:
    assert parse_condition("bars_since(trend == 'bullish') > 3").reads_method
    assert parse_condition("bar == 'fake'").reads_method
    assert not parse_condition("close > open").reads_method


def test_equal_conditions_are_equal_however_they_are_written() -> None:
    one, other = parse_condition("rsi(close) < 30"), parse_condition("(rsi( close,length=14 ))<30.0")
    assert one.root == other.root
    assert len({one.root, other.root}) == 1
