"""What may be written as a condition, what it means in its canonical text, and where everything else is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.expressions import Kind, parse_condition, parse_number
from monitor.core.indicators.catalog import INDICATORS
from monitor.errors import ConditionError

CANONICAL = {
    "rsi( close,14 )<30 and close>sma(close,200.0)": "rsi(close, 14) < 30 and close > sma(close, 200)",
    "rsi(close) < 3e1": "rsi(close, 14) < 30",
    "rsi(close, length=10) < .5": "rsi(close, 10) < 0.5",
    "macd(close, signal=5, fast=3).hist > -0": "macd(close, 3, 26, 5).hist > 0",
    "stoch().k > stoch(d=2).d": "stoch(14, 3, 3).k > stoch(14, 3, 2).d",
    "  30 < rsi(close) < 70": "30 < rsi(close, 14) < 70",
    "bar == 'fake'": 'bar == "fake"',
    '"bullish" != trend': '"bullish" != trend',
    "((close > 1))": "close > 1",
    "(close > 1 and open > 1) and low > 1": "close > 1 and open > 1 and low > 1",
    "(close > 1 or open > 1) and low > 1": "(close > 1 or open > 1) and low > 1",
    "close > 1 or (open > 1 and low > 1)": "close > 1 or open > 1 and low > 1",
    "not (close > 1 or not open > 1)": "not (close > 1 or not open > 1)",
    "close - (open - low) > (close - open) - low": "close - (open - low) > close - open - low",
    "close / (open * low) * 2 > - (close + 1)": "close / (open * low) * 2 > -(close + 1)",
    "close > - -3 - -2": "close > 3 - -2",
    "bars_since(close > 1) > 5": "bars_since(close > 1) > 5",
    "bbands(close, 20, 2.50).upper > 1": "bbands(close, 20, 2.5).upper > 1",
    "close > 10000000000000000000000": "close > 1e+22",
}


@pytest.mark.parametrize(("text", "canonical"), CANONICAL.items())
def test_a_condition_has_one_canonical_text(text: str, canonical: str) -> None:
    condition = parse_condition(text)
    assert condition.canonical == canonical
    assert parse_condition(canonical).root == condition.root
    assert condition.source == text
    assert condition.kind is Kind.TRUTH


REFUSED = [
    ("", 1, "nothing is written"),
    ("   ", 1, "nothing is written"),
    ("rsi(close, 14)", 1, "expected a condition (true or false), this is a number"),
    ("trend", 1, "expected a condition (true or false), this is a text"),
    ("macd(close, 12, 26, 9) > 0", 1, ".macd, .signal, .hist"),
    ("macd(close).his > 0", 1, "did you mean 'hist'?"),
    ("1 < rsi(close).value", 5, "no field 'value'"),
    ("close.high > 3", 1, "expected a number"),
    ("clse > 3", 1, "did you mean 'close'?"),
    ("close > RSI(close)", 9, "did you mean 'rsi'?"),
    ("close > on('1d', close)", 9, "unknown indicator 'on'"),
    ("rsi > 3", 1, "rsi(x, length=14)"),
    ("close(1) > 3", 1, "prev(close, 1)"),
    ("open > close[1]", 13, "prev(close, 1)"),
    ("rsi(14) > 3", 5, "expected a series for x"),
    ("rsi() > 3", 1, "expected x in rsi"),
    ("atr(close, 14) > 3", 12, "write atr(length=14)"),
    ("atr(close) > 3", 5, "expected a plain number for length"),
    ("prev(5) > 3", 6, "expected a series for x"),
    ("rsi(close, 0) > 3", 12, "from 2 to 5000 for length, not 0"),
    ("sma(close, 5001) > 3", 12, "from 1 to 5000 for length, not 5001"),
    ("rsi(close, 14.5) > 3", 12, "a whole number"),
    ("bbands(close, 20, 0).upper > 3", 19, "a number from 0.01 to 100 for multiple"),
    ("rsi(close, high) > 3", 12, "expected a plain number for length"),
    ("rsi(close, 'x') > 3", 12, "expected a plain number for length"),
    ("rsi(close, 3, 4) > 3", 15, "rsi takes no more arguments"),
    ("rsi(close, lenght=3) > 3", 12, "did you mean 'length'?"),
    ("rsi(close, 3, length=3) > 3", 15, "length is given twice"),
    ("rsi(close, length=3, length=3) > 3", 22, "length is given twice"),
    ("rsi(x=close) > 3", 1, "expected x in rsi"),
    ("sma(*close) > 3", 5, "expected a number"),
    ("sma(**close) > 3", 5, "'**' cannot stand here"),
    ("bars_since(close) > 3", 12, "expected a condition (true or false), this is a number"),
    ("sma(close > 3, 5) > 3", 5, "expected a number, this is a condition"),
    ("sma(trend, 5) > 3", 5, "expected a number, this is a text"),
    ("close and open > 3", 1, "expected a condition"),
    ("not close", 5, "expected a condition"),
    ("(close > 3) + 1 > 2", 2, "expected a number, this is a condition"),
    ("(close > 3) == (open > 3)", 2, "expected a number to compare"),
    ("close == 'fake'", 1, "expected bar or trend beside a text"),
    ("bar == trend", 8, "expected a text beside bar"),
    ("bar == 'real_bul'", 8, "did you mean 'real_bull'?"),
    ("trend == 'fake'", 10, "one of \"neutral\", \"bullish\", \"bearish\""),
    ("trend > 'bullish'", 1, "expected == or !=, not >"),
    ("bar == 3", 8, "expected a text beside bar"),
    ("'a' == 'b'", 8, "expected bar or trend beside a text"),
    ("bar == 'fake' 'fake'", 8, "cannot stand here"),
    ("bar == f'fake'", 8, "cannot stand here"),
    ("bar == 'fa\\x6be'", 8, "cannot stand here"),
    ("bar == 'fake", 8, "cannot stand here"),
    ("bar == “fake”", 8, "write '\"'"),
    ("close = 5", 7, "write '==' to compare"),
    ("(close = 5)", 2, "=="),
    ("close > 3 and open = 5", 20, "write '==' to compare"),
    ("close === 5", 7, "write '=='"),
    ("close <> 5", 7, "write '!='"),
    ("close ≥ 5", 7, "write '>='"),
    ("close > 3 && open > 3", 11, "write 'and'"),
    ("close > 3 & open > 3", 11, "write 'and'"),
    ("close > 3 || open > 3", 11, "write 'or'"),
    ("close > 3 | open > 3", 11, "write 'or'"),
    ("!(close > 3)", 1, "write 'not'"),
    ("close > 3 AND open > 3", 11, "write 'and'"),
    ("Not close > 3", 1, "write 'not'"),
    ("close is 3", 7, "write '=='"),
    ("close < 3 in high", 11, "'in' cannot stand here"),
    ("close ** 2 > 3", 7, "'**' cannot stand here"),
    ("close // 2 > 3", 7, "'//' cannot stand here"),
    ("close % 2 > 3", 7, "'%' cannot stand here"),
    ("+close > 3", 1, "expected a number"),
    ("True", 1, "'True' cannot stand here"),
    ("close > None", 9, "'None' cannot stand here"),
    ("lambda: close > 3", 1, "'lambda' cannot stand here"),
    ("close > 3 if high > 3 else low > 3", 11, "'if' cannot stand here"),
    ("[x for x in close]", 1, "'[' cannot stand here"),
    ("(x := close) > 3", 4, "':=' cannot stand here"),
    ("(close, open) > 3", 1, "expected a number"),
    ("close > ...", 9, "expected a number"),
    ("close >", 8, "cannot be read"),
    ("  close close", 9, "cannot be read"),
    ("(close > 3", 1, "never closed"),
    ("close > 3)", 10, "unmatched ')'"),
    ("close close", 7, "cannot be read"),
    ("close > 0x10", 9, "'0x10' cannot stand here"),
    ("close > 1_000", 9, "'1_000' cannot stand here"),
    ("close > 3j", 9, "'3j' cannot stand here"),
    ("close > 3and open > 3", 9, "'3and' cannot stand here"),
    ("close > 1e999", 9, "finite"),
    ("close > " + "9" * 400, 9, "finite"),
    ("close > 3 # high", 11, "'#' cannot stand here"),
    ("close\n> 3", 6, "one line"),
    ("close\t> 3", 6, "spaces"),
    ("close > 3\x00", 10, "cannot stand here"),
    ("close > \ud800", 9, "plain letters"),
    ("ｃlose > 3", 1, "plain letters"),
    ("close > ﬁsh", 9, "plain letters"),
    ("close > 3 or bar == 'é'", 22, "plain letters"),
    ("bar == 'é' and clse > 3", 9, "plain letters"),
    ("__import__('os')", 1, "unknown indicator"),
    ("(" * 250 + "close", 201, "cannot be read"),
    ("not " * 100 + "close > 3", 81, "nested deeper than 20 levels"),
    ("-" * 450 + "close > 3", 20, "nested deeper than 20 levels"),
    (" + ".join(["close"] * 50) + " > 3", 1, "nested deeper than 20 levels"),
    ("close > 3" + " " * 500, 501, "at most 500 characters, this has 509"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "column", "says"), REFUSED, ids=lambda given: ascii(given)[:40])
def test_anything_else_is_refused_where_it_stands(text: str, column: int, says: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_condition(text)
    assert caught.value.column == column
    assert says in f"{caught.value.message}; {caught.value.hint}"
    assert caught.value.text == text


def test_a_number_is_asked_for_where_a_condition_stands() -> None:
    assert parse_number("close * 2").kind is Kind.NUMBER
    with pytest.raises(ConditionError, match="expected a number, this is a condition"):
        parse_number("close > 2")


def test_every_indicator_can_be_called_with_its_defaults() -> None:
    for name, entry in INDICATORS.items():
        inputs = ", ".join("close > 1" if form.kind is Kind.TRUTH else "close" for form in entry.inputs.values())
        field = f".{entry.outputs[0]}" if entry.outputs else ""
        read = parse_condition if entry.kind is Kind.TRUTH else parse_number
        assert read(f"{name}({inputs}){field}").kind is entry.kind


LEAVES = st.sampled_from(["close", "high", "volume", "3", "0.25", "-7", "1e6"])
COMPARED = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
STATED = st.sampled_from(["bar == 'fake'", "trend != 'neutral'", "'bearish' == trend"])


def larger_numbers(numbers: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    called = st.builds("{}({}, {})".format, st.sampled_from(["rsi", "ema", "prev"]), series(numbers), st.integers(2, 9))
    fielded = st.builds(
        "macd({}, slow={}).{}".format, series(numbers), st.integers(2, 9), st.sampled_from(["macd", "hist"])
    )
    return st.one_of(
        st.builds("({}) {} ({})".format, numbers, st.sampled_from("+-*/"), numbers),
        st.builds("{} {} {}".format, numbers, st.sampled_from("+-*/"), numbers),
        st.builds("-({})".format, numbers),
        called,
        fielded,
    )


def series(numbers: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return numbers.map("(close + {})".format)


NUMBERS = st.recursive(LEAVES, larger_numbers, max_leaves=4)


def larger_conditions(conditions: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({}) {} ({})".format, conditions, st.sampled_from(["and", "or"]), conditions),
        st.builds("{} {} {}".format, conditions, st.sampled_from(["and", "or"]), conditions),
        st.builds("not ({})".format, conditions),
        st.builds("bars_since({}) > 3".format, conditions),
    )


CHAINS = st.builds("{} {} {} {} {}".format, NUMBERS, COMPARED, NUMBERS, COMPARED, NUMBERS)
CONDITIONS = st.recursive(
    st.one_of(st.builds("{} {} {}".format, NUMBERS, COMPARED, NUMBERS), CHAINS, STATED), larger_conditions, max_leaves=4
).filter(lambda text: len(text) <= 250)


@settings(max_examples=300, deadline=None, database=None)
@given(CONDITIONS)
def test_reading_the_canonical_text_gives_the_same_condition(text: str) -> None:
    condition = parse_condition(text)
    again = parse_condition(condition.canonical)
    assert again.root == condition.root
    assert again.canonical == condition.canonical


@st.composite
def broken_conditions(draw: st.DrawFn) -> str:
    text = draw(CONDITIONS)
    for _ in range(draw(st.integers(1, 3))):
        at, cut = draw(st.integers(0, len(text))), draw(st.integers(0, 3))
        piece = draw(
            st.one_of(st.text(max_size=3), st.sampled_from([*"()'\"=,.*[]{}:;\\\n", "and", "lambda", "1e999", "if"]))
        )
        text = text[:at] + piece + text[at + cut :]
    return text


@settings(max_examples=700, deadline=None, database=None)
@given(st.one_of(broken_conditions(), st.text(max_size=40), st.text(alphabet="()-.'\"ab1=<, not\n", max_size=60)))
def test_reading_any_text_ends_in_a_condition_or_in_its_error(text: str) -> None:
    refused = None
    try:
        parse_condition(text)
    except ConditionError as error:
        refused = error
    assert refused is None or 1 <= refused.column <= len(text) + 1
