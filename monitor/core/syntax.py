"""The syntax of conditions: from a text to its node, or to an error that says where and what to write instead.

Python's own parser reads the text, after a scan has refused every character and word that no condition has: what the
parser sees is ASCII on one line, so its columns are characters and its names are what was written. Nothing is
evaluated.
"""

import ast
import keyword
import math
import re
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import pairwise
from typing import NoReturn

from monitor.core.indicators.catalog import INDICATORS
from monitor.core.indicators.registry import Indicator, Kind, Parameter
from monitor.core.nodes import (
    COLUMNS,
    LOGIC,
    PRICES,
    STATES,
    Call,
    Column,
    Node,
    Number,
    Operation,
    Text,
    kind,
    written,
)
from monitor.errors import ConditionError

MAX_LENGTH = 500
MAX_DEPTH = 20

_TOKEN = re.compile(
    r"""(?P<space>\ +)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<argument>[A-Za-z_]\w*\ *=(?![<>=!]))
    |(?P<name>[A-Za-z_]\w*(?![\w"']))
    |(?P<text>(?:"[^"\\]*"|'[^'\\]*')(?!\ *["']))
    |(?P<mark>[-+(),.]|[<>=!*/&|:^%~@?$]+)
    |(?P<other>\w+|.)""",
    re.VERBOSE,
)
_MARKS = frozenset("-+(),.*/") | {"<", "<=", ">", ">=", "==", "!="}
_INSTEAD = {
    "&": "'and'", "&&": "'and'", "|": "'or'", "||": "'or'", "!": "'not'", "=": "'==' to compare", "===": "'=='",
    "is": "'=='", "<>": "'!='", "=>": "'>='", "=<": "'<='", "≤": "'<='", "≥": "'>='", "≠": "'!='", "×": "'*'",
    "−": "'-'", "“": "'\"'", "”": "'\"'", "[": "prev(close, 1) for the bar before",
    "\n": "it on one line", "\r": "it on one line", "\t": "spaces",
}  # fmt: skip
_KINDS = {
    Kind.NUMBER: "a number",
    Kind.TRUTH: "a condition (true or false)",
    Kind.TEXT: "a text",
}
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.And: "and", ast.Or: "or",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip


def read(text: str, expected: Kind) -> Node:
    """The node of a text, of the kind expected.

    Raises: ConditionError.
    """
    _scan(text)
    return _Reader(text).read(expected)


def _scan(text: str) -> None:
    """Refuse what no condition has, where it stands."""
    if len(text) > MAX_LENGTH:
        message = f"expected at most {MAX_LENGTH} characters, this has {len(text)}"
        raise ConditionError(message, text, MAX_LENGTH + 1, "split it into several checks")
    if strange := re.search(r"[^ -~]", text):
        _refuse(text, strange.start() + 1, strange.group())
    before = ""
    for token in _TOKEN.finditer(text):
        form, found = token.lastgroup, token.group()
        if form == "argument" and before not in ("(", ","):
            _refuse(text, token.end(), "=")
        foreign = form == "name" and found not in LOGIC and (keyword.iskeyword(found) or found.lower() in LOGIC)
        if form == "other" or foreign or (form == "mark" and found not in _MARKS):
            _refuse(text, token.start() + 1, found)
        before = before if form == "space" else found


def _refuse(text: str, column: int, found: str) -> NoReturn:
    instead = f"'{found.lower()}'" if found.lower() in LOGIC else _INSTEAD.get(found, "")
    if not instead and not found.isascii():
        instead = "plain letters, digits and operators"
    raise ConditionError(f"{found!r} cannot stand here", text, column, f"write {instead}" if instead else "")


def _nearest(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.3)
    return f"did you mean {near[0]!r}?" if near else ""


def _usage(indicator: Indicator) -> str:
    arguments = [*indicator.inputs, *(f"{p.name}={written(p.default)}" for p in indicator.parameters)]
    return f"{indicator.name}({', '.join(arguments)})"


class _Reader:
    """One text being read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._indent = len(text) - len(text.lstrip(" "))

    def read(self, expected: Kind) -> Node:
        bare = self._text[self._indent :]
        if not bare:
            raise ConditionError(f"expected {_KINDS[expected]}, nothing is written", self._text, 1)
        try:
            tree = ast.parse(bare, mode="eval").body
        except SyntaxError as error:
            # An offset of 0 is the line after the last: something is missing at the end.
            column = error.offset + self._indent if error.offset else len(self._text) + 1
            reason = error.msg.replace(" or ':='", "")
            raise ConditionError(f"cannot be read from here on: {reason}", self._text, column) from None
        except (RecursionError, MemoryError):
            raise ConditionError("nested too deep", self._text, 1, "split it into several checks") from None
        return self._expect(expected, tree, 0)

    def _fail(self, tree: ast.expr | ast.keyword, message: str, hint: str = "") -> NoReturn:
        raise ConditionError(message, self._text, tree.col_offset + self._indent + 1, hint)

    def _expect(self, expected: Kind, tree: ast.expr, depth: int) -> Node:
        node = self._node(tree, depth + 1)
        if kind(node) is not expected:
            self._fail(tree, f"expected {_KINDS[expected]}, this is {_KINDS[kind(node)]}")
        return node

    def _node(self, tree: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._fail(tree, f"nested deeper than {MAX_DEPTH} levels", "split it into several checks")
        match tree:
            case ast.Constant(value=str(value)):
                return Text(value)
            case ast.Name(id=name):
                return self._column(tree, name)
            case ast.Call(func=ast.Name(id=name)):
                return self._call(tree, name, "", depth)
            case ast.Attribute(value=ast.Call(func=ast.Name(id=name)) as call, attr=field):
                return self._call(call, name, field, depth)
            case ast.Compare():
                return self._comparison(tree, depth)
            case ast.BoolOp(op=op, values=values):
                return self._logic(_OPERATORS[type(op)], [self._expect(Kind.TRUTH, value, depth) for value in values])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Operation(("not",), (self._expect(Kind.TRUTH, operand, depth),))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._minus(self._expect(Kind.NUMBER, operand, depth))
            case ast.BinOp(left=left, op=op, right=right):
                sides = self._expect(Kind.NUMBER, left, depth), self._expect(Kind.NUMBER, right, depth)
                return Operation((_OPERATORS[type(op)],), sides)
            case ast.Constant(value=int() | float() as value):
                return Number(self._finite(tree, value))
        return self._fail(tree, "expected a number, a column, a call of an indicator or an operation on them")

    def _finite(self, tree: ast.expr, value: float) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            self._fail(tree, "expected a finite number, this is too large")
        return number

    @staticmethod
    def _minus(operand: Node) -> Node:
        return Number(-operand.value) if isinstance(operand, Number) else Operation(("-",), (operand,))

    @staticmethod
    def _logic(operator: str, operands: list[Node]) -> Operation:
        flat: list[Node] = []
        for operand in operands:
            same = isinstance(operand, Operation) and operand.operators == (operator,)
            flat.extend(operand.operands if isinstance(operand, Operation) and same else (operand,))
        return Operation((operator,), tuple(flat))

    def _column(self, tree: ast.Name, name: str) -> Column:
        if name in COLUMNS:
            return Column(name)
        if name in INDICATORS:
            self._fail(tree, f"{name} is an indicator: expected its arguments", f"write {_usage(INDICATORS[name])}")
        return self._fail(tree, f"unknown name {name!r}", _nearest(name, [*COLUMNS, *INDICATORS]))

    def _comparison(self, tree: ast.Compare, depth: int) -> Operation:
        trees = [tree.left, *tree.comparators]
        nodes = [self._node(side, depth + 1) for side in trees]
        operators = tuple(_OPERATORS[type(op)] for op in tree.ops)
        for operator, sides in zip(operators, pairwise(zip(trees, nodes, strict=True)), strict=True):
            if any(kind(node) is Kind.TEXT for _, node in sides):
                self._state(operator, *sides)
                continue
            for side, node in sides:
                if kind(node) is not Kind.NUMBER:
                    self._fail(side, f"expected a number to compare, this is {_KINDS[kind(node)]}")
        return Operation(operators, tuple(nodes))

    def _state(self, operator: str, left: tuple[ast.expr, Node], right: tuple[ast.expr, Node]) -> None:
        """Refuse all but a column of states that is, or is not, one of its states."""
        if isinstance(left[1], Text):
            left, right = right, left
        (tree, column), (other, text) = left, right
        if not isinstance(column, Column) or column.name not in STATES:
            self._fail(tree, "expected bar or trend beside a text")
        states = STATES[column.name]
        listed = ", ".join(f'"{state}"' for state in states)
        if not isinstance(text, Text):
            self._fail(other, f"expected a text beside {column.name}: one of {listed}")
        if text.value not in states:
            self._fail(
                other, f"{column.name} is never {text.value!r}; it is one of {listed}", _nearest(text.value, states)
            )
        if operator not in ("==", "!="):
            self._fail(tree, f"{column.name} has no order: expected == or !=, not {operator}")

    def _call(self, tree: ast.Call, name: str, field: str, depth: int) -> Call:
        indicator = INDICATORS.get(name)
        if indicator is None:
            if name in COLUMNS:
                self._fail(tree, f"{name} is a column of the bar and takes no arguments", f"write prev({name}, 1)")
            self._fail(tree, f"unknown indicator {name!r}", _nearest(name, INDICATORS))
        count = len(indicator.inputs)
        if len(tree.args) < count:
            self._fail(tree, f"expected {' and '.join(indicator.inputs)} in {name}", f"write {_usage(indicator)}")
        inputs = tuple(self._input(indicator, *pair, depth) for pair in zip(indicator.inputs, tree.args, strict=False))
        parameters = self._parameters(indicator, tree.args[count:], tree.keywords)
        self._field(tree, indicator, field)
        return Call(indicator, inputs, parameters, field)

    def _input(self, indicator: Indicator, name: str, tree: ast.expr, depth: int) -> Node:
        node = self._expect(indicator.inputs[name].kind, tree, depth)
        if isinstance(node, Number) and not indicator.inputs[name].literal:
            message = f"expected a series for {name}, such as {PRICES[-1]}; this is a bare number"
            self._fail(tree, message, f"write {_usage(indicator)}")
        return node

    def _parameters(self, indicator: Indicator, given: list[ast.expr], named: list[ast.keyword]) -> tuple[float, ...]:
        parameters = {parameter.name: parameter for parameter in indicator.parameters}
        if len(given) > len(parameters):
            surplus = given[len(parameters)]
            self._fail(surplus, f"{indicator.name} takes no more arguments", f"write {_usage(indicator)}")
        values = {
            parameter.name: self._parameter(parameter, tree)
            for parameter, tree in zip(indicator.parameters, given, strict=False)
        }
        for argument in named:
            name = argument.arg or ""
            if name in values:
                self._fail(argument, f"{name} is given twice")
            if name not in parameters:
                near = _nearest(name, parameters) or f"write {_usage(indicator)}"
                self._fail(argument, f"{indicator.name} has no parameter {name!r}", near)
            values[name] = self._parameter(parameters[name], argument.value)
        return tuple(values.get(name, parameter.default) for name, parameter in parameters.items())

    def _parameter(self, parameter: Parameter, tree: ast.expr) -> float:
        node = self._node(tree, 1)
        if not isinstance(node, Number):
            self._fail(tree, f"expected a plain number for {parameter.name}")
        least, most = parameter.bounds.least, parameter.bounds.most
        if not least <= node.value <= most or (parameter.whole and not node.value.is_integer()):
            form = "a whole number" if parameter.whole else "a number"
            message = f"expected {form} from {written(least)} to {written(most)} for {parameter.name}"
            self._fail(tree, f"{message}, not {written(node.value)}")
        return int(node.value) if parameter.whole else node.value

    def _field(self, tree: ast.Call, indicator: Indicator, field: str) -> None:
        fields = ", ".join(f".{output}" for output in indicator.outputs)
        if field and not indicator.outputs:
            self._fail(tree, f"{indicator.name} is one value and has no field {field!r}", f"leave out .{field}")
        if field not in indicator.outputs and indicator.outputs:
            found = f"no field {field!r}" if field else "several values"
            self._fail(
                tree, f"{indicator.name} has {found}: expected one of {fields}", _nearest(field, indicator.outputs)
            )
