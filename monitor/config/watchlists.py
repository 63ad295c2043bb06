"""Watchlists: what one file in `watchlists/` may say, and how the files together become the checks that run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from monitor.config.files import mistakes, parse, read_text
from monitor.config.locate import locate
from monitor.config.settings import Name
from monitor.core.checks import Check, Trigger
from monitor.core.classify import Method
from monitor.core.expressions import parse_condition
from monitor.core.policy import Cooldown, Severity, parse_cooldown
from monitor.core.timeframe import Timeframe, parse_timeframe
from monitor.errors import ConditionError, ConfigError, InputError
from monitor.markets import parse_market

Symbol = Annotated[str, Field(pattern=r"^[A-Za-z0-9^][A-Za-z0-9.^=_-]{0,31}$")]
Bars = Annotated[int, Field(ge=1, le=250)]


class _Keys(BaseModel):
    """Keys that a watchlist sets for all its checks and a check may set for itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity | None = None
    cooldown: str | None = None

    @field_validator("cooldown")
    @classmethod
    def _readable_cooldown(cls, text: str | None) -> str | None:
        if text is not None:
            _or_value_error(parse_cooldown, text)
        return text

    @field_validator("timeframes", check_fields=False)
    @classmethod
    def _known_timeframes(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            _or_value_error(parse_timeframe, name)
        return _once(names)

    @field_validator("symbols", "channels", check_fields=False)
    @classmethod
    def _named_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return _once(names)


class CheckSettings(_Keys):
    """One `[[checks]]` table. `symbols`, `timeframes` and `channels` narrow or replace those of the watchlist."""

    name: Name
    rule: Annotated[str, Field(pattern="^trend$")] | None = None
    when: str | None = None
    trigger: Trigger = Trigger.RISING
    confirm: Bars = 1
    rearm: Bars = 1
    early_warning: bool = False
    symbols: Annotated[tuple[Symbol, ...], Field(min_length=1)] | None = None
    timeframes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    channels: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.rule is None) == (self.when is None):
            raise ValueError(f'check {self.name!r} needs either when = "a condition" or rule = "trend"')
        debounced = self.model_fields_set & {"trigger", "confirm", "rearm"}
        if self.rule and debounced:
            raise ValueError(
                f'{", ".join(sorted(debounced))} cannot be used with rule = "trend"; set confirmation in [method]'
            )
        if self.when and "early_warning" in self.model_fields_set:
            raise ValueError('early_warning can be used with rule = "trend" only')
        if "rearm" in self.model_fields_set and self.trigger in (Trigger.CHANGE, Trigger.LEVEL):
            raise ValueError(f"rearm means nothing with trigger = {self.trigger.value!r}; remove it")
        return self

    def check(self, method: Method) -> Check:
        """The check by its meaning.

        Raises: ConditionError.
        """
        if self.when is None:
            return Check(method, early_warning=self.early_warning)
        return Check(method, parse_condition(self.when), self.trigger, self.confirm, self.rearm)


class Watchlist(_Keys):
    """One file of `watchlists/`; `markets` names the market of single symbols."""

    title: str = ""
    market: str | None = None
    markets: dict[Symbol, str] = {}
    symbols: Annotated[tuple[Symbol, ...], Field(min_length=1)]
    timeframes: Annotated[tuple[str, ...], Field(min_length=1)]
    channels: tuple[str, ...] = ("console",)
    checks: Annotated[tuple[CheckSettings, ...], Field(min_length=1)]

    @field_validator("market", "markets")
    @classmethod
    def _known_markets(cls, value: Any) -> Any:
        for market in value.values() if isinstance(value, dict) else [value]:
            _or_value_error(parse_market, market)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [check.name for check in self.checks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two checks are named {twice[0]!r}; give each its own name")
        for where, inner in [("markets", self.markets), *((f"check {c.name!r}", c.symbols or ()) for c in self.checks)]:
            if strange := sorted(set(inner) - set(self.symbols)):
                raise ValueError(
                    f"{where} names {', '.join(strange)}, which is not among the symbols of this watchlist"
                )
        return self

    def market_of(self, symbol: str) -> str | None:
        """The market that is stated for a symbol."""
        return self.markets.get(symbol, self.market)

    def cooldown_of(self, check: CheckSettings) -> Cooldown | None:
        text = check.cooldown or self.cooldown
        return parse_cooldown(text) if text else None

    def timeframes_of(self, check: CheckSettings) -> tuple[Timeframe, ...]:
        return tuple(parse_timeframe(name) for name in check.timeframes or self.timeframes)


def read_watchlist(text: str, path: Path, method: Method) -> tuple[Watchlist, dict[str, Check]]:
    """A watchlist and its checks by name.

    Raises: ConfigError naming file, line and column.
    """
    written = parse(text, path)
    try:
        watchlist = Watchlist(**written)
    except ValidationError as error:
        raise mistakes(error, written, text, path, Watchlist) from None
    checks = {}
    for place, settings in enumerate(watchlist.checks):
        try:
            checks[settings.name] = settings.check(method)
        except ConditionError as error:
            line, column = locate(text, ["checks", place, "when"])
            raise ConfigError(
                f"{path}:{line}:{column + error.column}: check {settings.name!r}: {error.message}\n{error.pointed()}",
                error.hint,
            ) from None
    return watchlist, checks


def load_watchlists(
    folder: Path, method: Method, edited: Mapping[Path, str]
) -> dict[str, tuple[Watchlist, dict[str, Check]]]:
    """Every watchlist of a folder with its checks, by the name of its file; a text in `edited` stands for its file's.

    Raises: ConfigError.
    """
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}", "run `barwatch init`, or set watchlists in config.toml")
    found = {}
    for path in sorted(folder.glob("*.toml")):
        text = edited[path] if path in edited else read_text(path, "make it readable")
        found[path.stem] = read_watchlist(text, path, method)
    if not found:
        raise ConfigError(f"there is no watchlist (*.toml) in {folder}", "run `barwatch init` for one to begin with")
    return found


def _once(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if names and (twice := sorted({name for name in names if names.count(name) > 1})):
        raise ValueError(f"{', '.join(twice)} stands there twice; remove one")
    return names


def _or_value_error(read: Any, text: str) -> None:
    try:
        read(text)
    except InputError as error:
        raise ValueError(f"{error.message}; {error.hint}") from None
