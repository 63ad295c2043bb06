"""The parts of a condition: numbers, texts, bar columns, calls of indicators and operations on them.

A *node* is one of these, frozen: equal nodes are interchangeable. Its *canonical text* has every default filled in and
only the parentheses it needs; reading that text gives an equal node. `lookback` and `settle` are those of
indicators, added along nesting; of operands side by side the largest counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.core.indicators.registry import Indicator, Kind

PRICES = ("open", "high", "low", "close")
STATES = {
    "bar": ("real_bull", "real_bear", "fake", "unclassified"),
    "trend": ("neutral", "bullish", "bearish"),
}
COLUMNS = (*PRICES, "volume", *STATES)


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Text:
    value: str


@dataclass(frozen=True)
class Column:
    name: str


@dataclass(frozen=True)
class Call:
    """An indicator of its inputs; `field` names the output where it has several."""

    indicator: Indicator
    inputs: tuple["Node", ...]
    parameters: tuple[float, ...]
    field: str


@dataclass(frozen=True)
class Operation:
    """One operator before its operand, or between its operands; a chain of comparisons has one for each pair."""

    operators: tuple[str, ...]
    operands: tuple["Node", ...]


Node = Number | Text | Column | Call | Operation

LOGIC = ("and", "or", "not")
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_BINDING = {"or": 1, "and": 2, "not": 3} | dict.fromkeys(COMPARISONS, 4) | {"+": 5, "-": 5, "*": 6, "/": 6}
_UNARY_MINUS = 7


def kind(node: Node) -> Kind:
    match node:
        case Number():
            return Kind.NUMBER
        case Text():
            return Kind.TEXT
        case Column(name):
            return Kind.TEXT if name in STATES else Kind.NUMBER
        case Call(indicator):
            return indicator.kind
        case Operation(operators):
            return Kind.TRUTH if operators[0] in (*LOGIC, *COMPARISONS) else Kind.NUMBER


def parts(node: Node) -> tuple[Node, ...]:
    """The nodes directly inside a node."""
    match node:
        case Call(inputs=inside) | Operation(operands=inside):
            return inside
        case _:
            return ()


def written(value: float) -> str:
    return str(int(value)) if abs(value) < 1e15 and value == int(value) else repr(value)


def canonical(node: Node, binding: int = 0) -> str:
    """The one text of a node, in parentheses where its operator binds less than `binding`."""
    match node:
        case Number(value):
            return written(value)
        case Text(value):
            return f'"{value}"'
        case Column(name):
            return name
        case Call(indicator, inputs, parameters, field):
            arguments = ", ".join([*map(canonical, inputs), *map(written, parameters)])
            return f"{indicator.name}({arguments})" + (f".{field}" if field else "")
        case Operation(operators, operands):
            own = _UNARY_MINUS if operators == ("-",) and len(operands) == 1 else _BINDING[operators[0]]
            text = _operation(operators, operands, own)
            return f"({text})" if own < binding else text


def _operation(operators: Sequence[str], operands: Sequence[Node], own: int) -> str:
    first, *others = operands
    if not others:
        return f"{'not ' if operators[0] == 'not' else '-'}{canonical(first, own)}"
    if operators[0] in LOGIC:
        return f" {operators[0]} ".join(canonical(operand, own + 1) for operand in operands)
    return canonical(first, own) + "".join(
        f" {operator} {canonical(operand, own + 1)}" for operator, operand in zip(operators, others, strict=True)
    )


def lookback(node: Node) -> int:
    """Bars before the first at which the node is surely known."""
    inside = max(map(lookback, parts(node)), default=0)
    return node.indicator.lookback(node.parameters) + inside if isinstance(node, Call) else inside


def settle(node: Node) -> int | None:
    """Bars of history a value needs; None: all from the first stored bar on."""
    inside = [settle(part) for part in parts(node)]
    if isinstance(node, Call):
        inside.append(None if "trend" in columns(node) else 0)
        own = node.indicator.settle(node.parameters)
    else:
        own = 0
    known = [bars for bars in inside if bars is not None]
    return None if own is None or len(known) < len(inside) else own + max(known, default=0)


def columns(node: Node) -> frozenset[str]:
    """The bar columns that are written in a node."""
    if isinstance(node, Column):
        return frozenset({node.name})
    return frozenset().union(*map(columns, parts(node)))
