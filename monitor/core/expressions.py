"""Expressions: the text of a condition as one value per closed bar, and many of them computed together.

A truth is true, false or *unknown* (null): where history is too short, a division is by zero or a market has no volume.
`and`, `or` and `not` are three-valued: `false and unknown` is false. Two numbers that differ by at most their *slack*,
1e-9 of the larger and 1e-12 of the close, count as equal, or the rounding of a running sum would fire a check on a flat
price; `>`, `>=`, `<`, `<=`, `==`, `!=`, `crossover` and `crossunder` all follow from that. Bar columns and written
numbers have no rounding: among themselves they are compared exactly. An infinity is unknown, like any value that is no
number. Whatever looks back does so within one symbol.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import pairwise
from operator import add, and_, mul, or_, sub, truediv

import polars as pl

from monitor.core.indicators.registry import Kind
from monitor.core.nodes import (
    LOGIC,
    PRICES,
    STATES,
    Call,
    Column,
    Node,
    Number,
    Operation,
    Text,
    canonical,
    columns,
    kind,
    lookback,
    parts,
    settle,
)
from monitor.core.syntax import read

_ARITHMETIC: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {"+": add, "-": sub, "*": mul, "/": truediv}
_DENSE = frozenset(map(Column, PRICES))


@dataclass(frozen=True)
class Expression:
    """A condition or a number that was read from a text; `source` is the text as typed."""

    source: str = field(compare=False)
    root: Node

    @property
    def kind(self) -> Kind:
        return kind(self.root)

    @property
    def canonical(self) -> str:
        """The one text of all expressions with this meaning; reading it gives an equal root."""
        return canonical(self.root)

    @property
    def lookback(self) -> int:
        """Bars before the first value."""
        return lookback(self.root)

    @property
    def settle(self) -> int | None:
        """Bars of history a value needs so as not to depend on where it began; None: all from the first stored bar."""
        return settle(self.root)

    @property
    def reads_method(self) -> bool:
        """Whether it needs the columns `bar` and `trend`."""
        return not columns(self.root).isdisjoint(STATES)


def parse_condition(text: str) -> Expression:
    """The condition of a text.

    Raises: ConditionError.
    """
    return Expression(text, read(text, Kind.TRUTH))


def parse_number(text: str) -> Expression:
    """The number of a text.

    Raises: ConditionError.
    """
    return Expression(text, read(text, Kind.NUMBER))


class Program:
    """Expressions computed together, what they share once.

    Each step is one pass over the frame and needs only columns of the bars and of earlier steps.
    """

    def __init__(self, steps: Sequence[Sequence[pl.Expr]], scratch: Iterable[str]) -> None:
        self._steps = steps
        self._scratch = tuple(scratch)

    @classmethod
    def of(cls, expressions: Iterable[Expression]) -> "Program":
        steps: dict[int, dict[str, pl.Expr]] = defaultdict(dict)
        placed: dict[str, int] = {}
        scratch: set[str] = set()

        def place(node: Node) -> int:
            """The step that gives the node's column; 0 where nothing is to be computed."""
            name = canonical(node)
            if isinstance(node, Number | Text | Column) or name in placed:
                return placed.get(name, 0)
            step = 1 + max(map(place, parts(node)), default=0)
            if isinstance(node, Call):
                steps[step][_raw(node)] = _called(node)
                scratch.add(_raw(node))
                step += 1
            steps[step][name] = _value(node)
            placed[name] = step
            return step

        for expression in expressions:
            if not place(expression.root) and isinstance(expression.root, Number):
                steps[1][canonical(expression.root)] = _operand(expression.root)
        ordered = [[value.alias(name) for name, value in steps[step].items()] for step in sorted(steps)]
        return cls(ordered, scratch)

    def apply(self, bars: pl.LazyFrame) -> pl.LazyFrame:
        """The same rows with a column for every part of every expression; a streaming engine may change their order.

        Shape: bars of one timeframe, sorted by symbol and ts, with `bar` and `trend` where they are read.
        """
        for step in self._steps:
            bars = bars.with_columns(step)
        return bars.drop(*self._scratch)

    def column(self, expression: Expression) -> str:
        """The column of an expression: a number, or a truth whose null is unknown."""
        return canonical(expression.root)

    def parts(self, expression: Expression) -> dict[str, str]:
        """What explains an expression: canonical text → column, the outermost part first."""
        shown: dict[str, str] = {}
        row: Sequence[Node] = (expression.root,)
        while row:
            for node in row:
                if _explains(node):
                    shown.setdefault(canonical(node), canonical(node))
            row = [part for node in row for part in parts(node)]
        return shown


def _explains(node: Node) -> bool:
    if isinstance(node, Operation):
        return node.operators[0] not in LOGIC
    return not isinstance(node, Number | Text)


def _raw(call: Call) -> str:
    """The column of all that a call gives, before its fields are told apart and the unknown is."""
    return f"raw {canonical(replace(call, field=''))}"


def _operand(node: Node) -> pl.Expr:
    if isinstance(node, Number | Text):
        return pl.lit(node.value)
    return pl.col(canonical(node))


def _called(call: Call) -> pl.Expr:
    """One call over the bars of each symbol."""
    arguments = {name: _operand(part) for name, part in zip(call.indicator.inputs, call.inputs, strict=True)}
    for name in call.indicator.supplied:
        arguments[name] = _slack(*call.inputs) if name == "slack" else pl.col(name)
    arguments |= {name: part.forward_fill() for name, part in _gapped(call).items()}
    return call.indicator.expression(arguments, call.parameters).over("symbol")


def _gapped(call: Call) -> dict[str, pl.Expr]:
    """The arguments that must be made dense: of all series, only prices are sure to have no gap."""
    inputs = zip(call.indicator.inputs.items(), call.inputs, strict=True)
    gapped = {name: _operand(part) for (name, form), part in inputs if form.dense and part not in _DENSE}
    return gapped | {name: pl.col(name) for name in call.indicator.supplied if name == "volume"}


def _value(node: Call | Operation) -> pl.Expr:
    if isinstance(node, Operation):
        value, rests_on = _operation(node), {}
    else:
        raw = pl.col(_raw(node))
        value, rests_on = raw.struct.field(node.field) if node.field else raw, _gapped(node)
    return value if kind(node) is Kind.TRUTH else _known(value, rests_on.values())


def _known(value: pl.Expr, rests_on: Iterable[pl.Expr]) -> pl.Expr:
    """The value, unknown where it is no finite number or something it rests on is unknown.

    Polars holds NaN to be above every number, and TA-Lib writes NaN where it has no value.
    """
    number = value.cast(pl.Float64)
    return pl.when(pl.all_horizontal(number.is_finite(), *(part.is_not_null() for part in rests_on))).then(number)


def _operation(node: Operation) -> pl.Expr:
    operands = [_operand(operand) for operand in node.operands]
    match node.operators[0]:
        case "not":
            return ~operands[0]
        case "-" if len(operands) == 1:
            return -operands[0]
        case "and":
            return reduce(and_, operands)
        case "or":
            return reduce(or_, operands)
        case operator if operator in _ARITHMETIC:
            return _ARITHMETIC[operator](*operands)
    pairs = zip(node.operators, pairwise(node.operands), strict=True)
    return reduce(and_, (_compared(operator, left, right) for operator, (left, right) in pairs))


def _compared(operator: str, left: Node, right: Node) -> pl.Expr:
    a, b = _operand(left), _operand(right)
    if Kind.TEXT in (kind(left), kind(right)):
        return a == b if operator == "==" else a != b
    above, slack = a - b, _slack(left, right)
    match operator:
        case ">":
            return above > slack
        case ">=":
            return above >= -slack
        case "<":
            return above < -slack
        case "<=":
            return above <= slack
        case "==":
            return above.abs() <= slack
        case _:
            return above.abs() > slack


def _slack(left: Node, right: Node) -> pl.Expr:
    """The difference up to which two numbers count as equal."""
    if isinstance(left, Column | Number) and isinstance(right, Column | Number):
        return pl.lit(0.0)
    return 1e-9 * pl.max_horizontal(_operand(left).abs(), _operand(right).abs()) + 1e-12 * pl.col("close").abs()
