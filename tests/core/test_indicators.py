"""Indicators against the TA-Lib wheel, plain Python and real daily bars of five symbols from 2000 to 2013."""

import importlib.resources
import math
from functools import cache

import numpy as np
import polars as pl
import pytest
import talib

from monitor.core.expressions import Program, parse_condition, parse_number
from monitor.core.indicators.catalog import INDICATORS
from monitor.core.indicators.registry import (
    ANCHORED,
    Bounds,
    Dense,
    Indicator,
    Kind,
    Length,
    Parameter,
    Truth,
    indicator,
)

LONG = ("AAPL", "IBM", "MSFT")

# Ours → the wheel's function and what it is given, before the parameters.
WHEEL = {
    "ad": "AD high low close volume",
    "adosc": "ADOSC high low close volume",
    "adr": "ADR high low",
    "adx": "ADX high low close",
    "adxr": "ADXR high low close",
    "accbands": "ACCBANDS high low close",
    "ao": "AO high low",
    "apo": "APO close",
    "aroon": "AROON high low",
    "aroonosc": "AROONOSC high low",
    "atr": "ATR high low close",
    "bbands": "BBANDS close",
    "bop": "BOP open high low close",
    "cci": "CCI high low close",
    "cmf": "CMF high low close volume",
    "cmo": "CMO close",
    "coppock": "COPPOCK close",
    "correl": "CORREL close volume",
    "cvi": "CVI high low",
    "dema": "DEMA close",
    "donchian": "DONCHIAN high low",
    "efi": "EFI close volume",
    "ema": "EMA close",
    "er": "ER close",
    "highest": "MAX close",
    "hma": "HMA close",
    "kama": "KAMA close",
    "kc": "KC high low close",
    "linearreg": "LINEARREG close",
    "linearreg_slope": "LINEARREG_SLOPE close",
    "lowest": "MIN close",
    "macd": "MACD close",
    "massi": "MASSI high low",
    "medprice": "MEDPRICE high low",
    "mfi": "MFI high low close volume",
    "midpoint": "MIDPOINT close",
    "midprice": "MIDPRICE high low",
    "minus_di": "MINUS_DI high low close",
    "mom": "MOM close",
    "natr": "NATR high low close",
    "nvi": "NVI close volume",
    "obv": "OBV close volume",
    "percentile": "PERCENTILE close",
    "plus_di": "PLUS_DI high low close",
    "ppo": "PPO close",
    "pvi": "PVI close volume",
    "pvo": "PVO volume",
    "pvt": "PVT close volume",
    "rma": "RMA close",
    "roc": "ROC close",
    "rsi": "RSI close",
    "rvol": "RVOL volume",
    "sar": "SAR high low",
    "sma": "SMA close",
    "stddev": "STDDEV close",
    "stoch": "STOCH high low close",
    "stochf": "STOCHF high low close",
    "stochrsi": "STOCHRSI close",
    "sum": "SUM close",
    "supertrend": "SUPERTREND high low close",
    "t3": "T3 close",
    "tema": "TEMA close",
    "trange": "TRANGE high low close",
    "trima": "TRIMA close",
    "trix": "TRIX close",
    "tsf": "TSF close",
    "tsi": "TSI close",
    "typprice": "TYPPRICE high low close",
    "ultosc": "ULTOSC high low close",
    "var": "VAR close",
    "vortex": "VORTEX high low close",
    "vwap": "VWAP high low close volume",
    "vwma": "VWMA close volume",
    "willr": "WILLR high low close",
    "wma": "WMA close",
    "zlema": "ZLEMA close",
}
# Where the wheel asks for more than our parameters in our order: the kind of an average, or one number twice.
WHEEL_PARAMETERS = {
    "bbands": lambda length, multiple: (length, multiple, multiple),
    "stoch": lambda length, k, d: (length, k, 0, d, 0),
    "stochf": lambda length, d: (length, d, 0),
}
OURS = {name for name, entry in INDICATORS.items() if entry.source == "Barwatch"}


@cache
def bars() -> pl.DataFrame:
    stored = importlib.resources.files("bokeh_sampledata") / "_data" / "stocks.csv.gz"
    names = {name: name.lower() for name in ("Open", "High", "Low", "Close", "Volume")} | {
        "Ticker": "symbol",
        "Date": "ts",
    }
    return (
        pl.read_csv(stored.read_bytes())
        .select(*names)
        .rename(names)
        .with_columns(pl.col("open", "high", "low", "close", "volume").cast(pl.Float64), pl.col("ts").str.to_date())
        .sort("symbol", "ts")
    )


def default(entry: Indicator) -> list[float]:
    return [parameter.default for parameter in entry.parameters]


def other(entry: Indicator) -> list[float]:
    return [p.default + 3 if p.whole else p.default * 0.9 for p in entry.parameters]


def least(entry: Indicator) -> list[float]:
    return [parameter.bounds.least for parameter in entry.parameters]


def most(entry: Indicator) -> list[float]:
    return [parameter.bounds.most for parameter in entry.parameters]


PARAMETER_SETS = (default, other)


def texts(entry: Indicator, parameters: list[float], given: list[str] | None = None) -> list[str]:
    """A call for each output, as someone would write it."""
    series = iter(given or ["close", "open"])
    arguments = ["close > 0" if form.kind is Kind.TRUTH else next(series) for form in entry.inputs.values()]
    call = f"{entry.name}({', '.join([*arguments, *map(str, parameters)])})"
    return [f"{call}.{output}" for output in entry.outputs] or [call]


def computed(frame: pl.DataFrame, written: list[str]) -> list[pl.Series]:
    condition = INDICATORS[written[0].partition("(")[0]].kind is Kind.TRUTH
    expressions = [parse_condition(text) if condition else parse_number(text) for text in written]
    program = Program.of(expressions)
    values = program.apply(frame.lazy()).collect(engine="in-memory")
    return [values[program.column(expression)] for expression in expressions]


def of_wheel(name: str, parameters: list[float], frame: pl.DataFrame) -> list[np.ndarray]:
    function, *inputs = WHEEL[name].split()
    parameters = WHEEL_PARAMETERS.get(name, lambda *given: given)(*parameters)
    found = getattr(talib, function)(*(frame[column].to_numpy() for column in inputs), *parameters)
    outputs = [np.asarray(output, dtype=float) for output in (found if isinstance(found, tuple) else (found,))]
    if name == "supertrend":
        outputs[1][outputs[1] == 0] = np.nan  # a whole number cannot be NaN while warming up
    return outputs


def test_the_catalog_holds_every_indicator_under_its_own_name() -> None:
    assert all(name == entry.name for name, entry in INDICATORS.items())
    assert set(WHEEL) | OURS == set(INDICATORS)
    assert not set(WHEEL) & OURS


@pytest.mark.parametrize("entry", INDICATORS.values(), ids=INDICATORS)
def test_an_indicator_says_what_it_is_in_which_unit(entry: Indicator) -> None:
    assert entry.summary.endswith(".")
    assert entry.unit
    assert all(p.bounds.least <= p.default <= p.bounds.most for p in entry.parameters)


@pytest.mark.parametrize("parameters_of", PARAMETER_SETS)
@pytest.mark.parametrize("name", WHEEL)
def test_an_indicator_of_talib_equals_the_wheel_for_each_symbol(name: str, parameters_of) -> None:
    entry = INDICATORS[name]
    parameters = parameters_of(entry)
    given = WHEEL[name].split()[1:] if entry.inputs else None
    ours = computed(bars(), texts(entry, parameters, given))
    for symbol in bars()["symbol"].unique():
        here = bars()["symbol"] == symbol
        theirs = of_wheel(name, parameters, bars().filter(here))
        for our_values, their_values in zip(ours, theirs, strict=True):
            values = our_values.filter(here).to_numpy()
            np.testing.assert_allclose(values, their_values, rtol=1e-9, atol=0, err_msg=symbol)


def awkward_bars() -> pl.DataFrame:
    """Too few bars, a price that never moves without volume, a market that has none, prices around zero."""
    few = bars().filter(symbol="IBM").head(3)
    real = bars().filter(symbol="MSFT").head(150)
    flat = real.with_columns(pl.lit("FLAT").alias("symbol"), pl.col("open", "high", "low", "close") * 0 + 10.1)
    flat = flat.with_columns(pl.col("volume") * 0)
    silent = real.with_columns(pl.lit("INDEX").alias("symbol"), pl.lit(None, pl.Float64).alias("volume"))
    moves = pl.col("close").diff().fill_null(0).round(0)
    spread = real.with_columns(
        pl.lit("SPREAD").alias("symbol"), *(moves.alias(n) for n in ("open", "high", "low", "close"))
    )
    return pl.concat([few, real, flat, silent, spread]).sort("symbol", "ts")


@pytest.mark.parametrize("parameters_of", [default, least, most])
@pytest.mark.parametrize("entry", INDICATORS.values(), ids=INDICATORS)
def test_no_output_is_ever_nan_or_infinite(entry: Indicator, parameters_of) -> None:
    for values in computed(awkward_bars(), texts(entry, parameters_of(entry))):
        assert values.dtype == (pl.Boolean if entry.kind is Kind.TRUTH else pl.Float64)
        assert values.cast(pl.Float64).drop_nulls().is_finite().all()


@pytest.mark.parametrize("parameters_of", [default, other, least])
@pytest.mark.parametrize("entry", INDICATORS.values(), ids=INDICATORS)
def test_the_first_value_stands_after_lookback_bars(entry: Indicator, parameters_of) -> None:
    parameters = parameters_of(entry)
    for values in computed(bars(), texts(entry, parameters)):
        for symbol in LONG:
            known = values.filter(bars()["symbol"] == symbol).is_not_null()
            assert known.arg_max() == entry.lookback(parameters)
            assert known.any()


@pytest.mark.parametrize("parameters_of", PARAMETER_SETS)
@pytest.mark.parametrize(
    "entry", [entry for entry in INDICATORS.values() if entry.settle(default(entry)) is not None], ids=lambda e: e.name
)
def test_history_before_settle_does_not_change_the_newest_value(entry: Indicator, parameters_of) -> None:
    parameters = parameters_of(entry)
    written = texts(entry, parameters)
    whole = bars().filter(pl.col("symbol").is_in(LONG))
    short = whole.group_by("symbol", maintain_order=True).tail(entry.settle(parameters) + 1)
    for full, cut in zip(computed(whole, written), computed(short, written), strict=True):
        for symbol in LONG:
            history = full.cast(pl.Float64).filter(whole["symbol"] == symbol)
            newest = cut.cast(pl.Float64).filter(short["symbol"] == symbol)[-1]
            assert newest == pytest.approx(history[-1], rel=0, abs=1e-9 * history.abs().median())


@pytest.mark.parametrize("name", ["ad", "bars_since", "kama", "nvi", "obv", "pvi", "pvt", "sar", "supertrend", "vwap"])
def test_what_never_forgets_its_first_bar_is_anchored_and_says_so(name: str) -> None:
    entry = INDICATORS[name]
    assert entry.settle(default(entry)) is None
    assert "From the first stored bar" in entry.summary


def column(text: str, **columns: list[float | None]) -> list[float | None]:
    """A call over one symbol; `close` is 1 where it is not given."""
    height = len(next(iter(columns.values())))
    frame = pl.DataFrame({"symbol": ["A"] * height, "close": [1.0] * height} | columns, strict=False)
    frame = frame.with_columns(pl.exclude("symbol").cast(pl.Float64))
    return computed(frame, [text])[0].to_list()


@pytest.mark.parametrize(("length", "multiple"), [(20, 2), (7, 1.5)])
def test_band_width_and_place_follow_from_the_bands_of_the_wheel(length: int, multiple: float) -> None:
    frame = bars().filter(symbol="AAPL")
    close = frame["close"].to_numpy()
    upper, middle, lower = talib.BBANDS(close, length, multiple, multiple)
    width = computed(frame, [f"bb_width(close, {length}, {multiple})"])[0].to_numpy()
    place = computed(frame, [f"bb_percent(close, {length}, {multiple})"])[0].to_numpy()
    np.testing.assert_allclose(width, (upper - lower) / middle, rtol=1e-9)
    np.testing.assert_allclose(place, (close - lower) / (upper - lower), rtol=1e-9, atol=1e-9)


def test_a_cross_is_being_above_now_and_not_before() -> None:
    a, b = [1, 3, 3, 2, 2, 3, None, 3, 1], [2, 2, 2, 2, 2, 2, 2, 2, 2]
    expected = [None, True, False, False, False, True, None, None, False]
    assert column("crossover(open, high)", open=a, high=b) == expected
    assert column("crossunder(open, high)", open=b, high=a) == expected


def test_a_cross_may_be_through_a_number() -> None:
    assert column("crossover(close, 2.5)", close=[2, 2.5, 2.6, 3]) == [None, False, True, False]
    assert column("crossunder(2.5, close)", close=[2, 2.5, 2.6, 3]) == [None, False, True, False]


def test_bars_since_counts_from_the_last_bar_where_it_was_true() -> None:
    assert column("bars_since(close > 2)", close=[1, 3, 1, 1, 3, 1]) == [None, 0, 1, 2, 0, 1]


def test_bars_since_takes_unknown_for_not_true() -> None:
    assert column("bars_since(open > 2)", open=[None, 3, None, 1]) == [None, 0, 1, 2]


def test_prev_and_change_look_back_n_bars() -> None:
    assert column("prev(close)", close=[1, 2, 4]) == [None, 1, 2]
    assert column("prev(close, 2)", close=[1, 2, 4]) == [None, None, 1]
    assert column("change(close)", close=[1, 2, 4]) == [None, 1, 2]
    assert column("change(close, 2)", close=[1, 2, 4]) == [None, None, 3]


def test_what_was_unknown_a_bar_ago_is_unknown_to_prev() -> None:
    assert column("prev(open / high)", open=[1, 1, 1], high=[1, 0, 2]) == [None, 1, None]


def test_size_lower_and_higher() -> None:
    assert column("abs(open - high)", open=[1, 5], high=[3, 3]) == [2, 2]
    assert column("min(open, high)", open=[1, 5, None], high=[3, 3, 3]) == [1, 3, None]
    assert column("max(open, 3.5)", open=[1, 5, None]) == [3.5, 5, None]


@pytest.mark.parametrize("length", [5, 100])
def test_percentrank_is_the_share_of_earlier_values_not_above(length: int) -> None:
    frame = bars().filter(symbol="FB").with_columns(pl.col("close").round(0))
    close = frame["close"].to_list()
    expected = [
        100 * sum(before <= close[i] for before in close[i - length : i]) / length if i >= length else math.nan
        for i in range(len(close))
    ]
    found = computed(frame, [f"percentrank(close, {length})"])[0].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_percentrank_counts_equal_values_that_talib_leaves_out() -> None:
    values = [5, 3, 4, 4, 1, 6, 4]
    assert column("percentrank(close, 4)", close=values)[4:] == [0, 100, 75]
    assert talib.PERCENTRANK(np.array(values, dtype=float), 4)[4:].tolist() == [0, 100, 25]


def test_aroon_up_is_high_at_a_new_high() -> None:
    rising = [float(price) for price in range(1, 21)]
    assert column("aroon(14).up", high=rising, low=rising)[-1] == 100
    assert column("aroon(14).down", high=rising, low=rising)[-1] == 0


def test_supertrend_points_up_in_a_rise_and_down_in_a_fall() -> None:
    rise = [float(price) for price in range(50, 90)]
    fall = rise[::-1]
    assert column("supertrend(5, 1).direction", high=rise, low=rise, close=rise)[-1] == 1
    assert column("supertrend(5, 1).direction", high=fall, low=fall, close=fall)[-1] == -1


def test_a_new_indicator_is_one_decorated_function() -> None:
    @indicator("The last value times n.", unit="as x", lookback=lambda times: 0, smoothing=ANCHORED)
    def product_(x: Dense, condition: Truth, volume: pl.Expr, times: Length = 3) -> pl.Expr:
        return x * times

    assert product_.name == "product"
    assert list(product_.inputs) == ["x", "condition"]
    assert product_.supplied == ("volume",)
    assert product_.parameters == (Parameter("times", 3, Bounds(1, 5000), whole=True),)
    assert product_.kind is Kind.NUMBER


def test_a_parameter_without_bounds_is_refused() -> None:
    def product(x: Dense, times: float = 3) -> pl.Expr:
        return x * times

    with pytest.raises(TypeError, match="product: annotate times"):
        indicator("The last value times n.", unit="as x", lookback=lambda times: 0)(product)
