"""The indicator registry: what an indicator is, and the decorator that makes one of a function.

The function's signature says all that a condition may write. An argument annotated with one of the *inputs* below is a
series given in the condition; a plain `pl.Expr` named after a bar column, or `slack` (the difference up to which its
two inputs count as equal), is supplied; an argument with a default is a *parameter*, bounded by its annotation.
`lookback` is the number of bars before the first defined value. `settle` is the history a value needs so that it does
not depend on where the history began; an *anchored* indicator has none: it is computed from the first stored bar.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from inspect import signature
from typing import Annotated, get_args, get_type_hints

import polars as pl


class Kind(StrEnum):
    """What an expression is at one bar."""

    NUMBER = "number"
    TRUTH = "truth"
    TEXT = "text"


@dataclass(frozen=True)
class Input:
    """What an indicator takes as a series.

    `dense`: gaps are closed with the last value before the call, and the result is unknown in them: one gap would
    otherwise end the series. `literal`: a bare number will do.
    """

    kind: Kind = Kind.NUMBER
    dense: bool = False
    literal: bool = False


@dataclass(frozen=True)
class Bounds:
    """The least and the most that a parameter may be."""

    least: float
    most: float


Dense = Annotated[pl.Expr, Input(dense=True)]
Series = Annotated[pl.Expr, Input()]
Level = Annotated[pl.Expr, Input(literal=True)]
Truth = Annotated[pl.Expr, Input(Kind.TRUTH)]

Length = Annotated[int, Bounds(1, 5000)]
Length2 = Annotated[int, Bounds(2, 5000)]
Multiple = Annotated[float, Bounds(0.01, 100)]
Share = Annotated[float, Bounds(0, 1)]

SUPPLIED = ("open", "high", "low", "close", "volume", "slack")


@dataclass(frozen=True)
class Parameter:
    """A number that shapes an indicator."""

    name: str
    default: float
    bounds: Bounds
    whole: bool


@dataclass(frozen=True, eq=False)
class Indicator:
    """A named function of bars and series.

    `outputs` are the fields of a call, none where the call itself is the value. `supplied` are arguments of `build`
    that a condition does not write.
    """

    name: str
    summary: str
    unit: str
    source: str
    kind: Kind
    inputs: Mapping[str, Input]
    supplied: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    outputs: tuple[str, ...]
    build: Callable[..., pl.Expr]
    lookback_of: Callable[..., int]
    smoothing_of: Callable[..., float] | None

    def expression(self, arguments: Mapping[str, pl.Expr], parameters: Sequence[float]) -> pl.Expr:
        """The values over one symbol's bars; warm-up is NaN or null; a struct of `outputs` where there are any.

        `arguments` are the inputs and the supplied, by name.
        """
        built = self.build(**arguments, **{p.name: value for p, value in zip(self.parameters, parameters, strict=True)})
        return built.struct.rename_fields(list(self.outputs)) if self.outputs else built

    def lookback(self, parameters: Sequence[float]) -> int:
        return self.lookback_of(*parameters)

    def settle(self, parameters: Sequence[float]) -> int | None:
        """None: anchored to the first stored bar.

        One pass of a smoothing forgets to 1e-9 in ln(1e-9) / ln(1 − k) bars; a smoothing of smoothings of that k needs
        more, and twice as many are enough for six of them.
        """
        if self.smoothing_of is None:
            return None
        kept = 1 - self.smoothing_of(*parameters)
        return self.lookback(parameters) + (math.ceil(2 * math.log(1e-9) / math.log(kept)) if kept > 0 else 0)


def exponential(length: float) -> float:
    """The smoothing factor of an exponential average."""
    return 2 / (length + 1)


def wilder(length: float) -> float:
    """The smoothing factor of Wilder's average."""
    return 1 / length


def _finite(*_: float) -> float:
    return 1.0


ANCHORED = None


def indicator(
    summary: str,
    *,
    unit: str,
    lookback: Callable[..., int],
    smoothing: Callable[..., float] | None = _finite,
    outputs: tuple[str, ...] = (),
    source: str = "TA-Lib",
) -> Callable[[Callable[..., pl.Expr]], Indicator]:
    """Makes an indicator of a function that gives its expression; a trailing `_` of its name is dropped.

    `lookback` and `smoothing` take the parameters; `smoothing` gives the smallest factor k of the smoothings inside, or
    is `ANCHORED`. A function that returns `Truth` makes a condition.
    """

    def register(build: Callable[..., pl.Expr]) -> Indicator:
        inputs: dict[str, Input] = {}
        supplied: list[str] = []
        parameters: list[Parameter] = []
        hints = get_type_hints(build, include_extras=True)
        returned = get_args(hints["return"])
        for name, argument in signature(build).parameters.items():
            base, *marks = get_args(hints[name]) or (hints[name],)
            match marks:
                case [] if name in SUPPLIED:
                    supplied.append(name)
                case [Input() as form]:
                    inputs[name] = form
                case [Bounds() as bounds]:
                    parameters.append(Parameter(name, argument.default, bounds, base is int))
                case _:
                    raise TypeError(f"{build.__name__}: annotate {name} with an input or with bounds")
        return Indicator(
            name=build.__name__.rstrip("_"),
            summary=summary,
            unit=unit,
            source=source,
            kind=returned[1].kind if returned else Kind.NUMBER,
            inputs=inputs,
            supplied=tuple(supplied),
            parameters=tuple(parameters),
            outputs=outputs,
            build=build,
            lookback_of=lookback,
            smoothing_of=smoothing,
        )

    return register
