"""Reading TOML files into settings, with every mistake told as file:line:column, what was expected and what to do."""

import os
import tomllib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from monitor.config.locate import locate
from monitor.errors import ConfigError


def read_text(path: Path, hint: str) -> str:
    """The text of a configuration file.

    Raises: ConfigError when it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"there is no {path}", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text; save it as UTF-8"
        raise ConfigError(f"cannot read {path}: {reason}", hint) from error


def parse(text: str, path: Path) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises: ConfigError with the place of the mistake.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).rpartition(" (at ")
        where = place.rstrip(")").replace("line ", "").replace(", column ", ":")
        if "end of document" in where or not message:
            where, message = str(len(text.splitlines())), message or str(error)
        raise ConfigError(
            f"{path}:{where}: not valid TOML: {message}", "mend that line and run `barwatch validate`"
        ) from None


def mistakes(
    error: ValidationError, written: dict[str, Any], text: str, path: Path, model: type[BaseModel]
) -> ConfigError:
    """A validation error of what is written in a file, or in the environment, in our words: a line for each mistake."""
    lines: dict[str, str] = {}
    hint = ""
    for mistake in error.errors():
        place = _place(mistake["loc"], written)
        key = ".".join(map(str, place))
        where = _variable(place) or _where(path, text, place)
        if mistake["type"] == "too_short" and any(known.startswith(f"{key}.") for known in lines):
            continue  # what is too short is so because its members were refused
        if mistake["type"] == "union_tag_invalid":
            known = mistake["ctx"]["expected_tags"].replace("'", "").split(", ")
            near = get_close_matches(str(mistake["ctx"]["tag"]), known, 1, 0.5)
            hint = hint or (f"did you mean {near[0]!r}?" if near else "")
            where = _variable([*place, "kind"]) or _where(path, text, [*place, "kind"])
            lines[key] = f"{where}: unknown {key}.kind {mistake['ctx']['tag']!r}; expected one of {', '.join(known)}"
        elif mistake["type"] == "extra_forbidden":
            near = get_close_matches(str(place[-1]), list(_names(model)), 1, 0.5)
            hint = hint or (f"did you mean {near[0]!r}?" if near else "")
            lines[key] = f"{where}: unknown key {key!r}"
        else:
            said = _SAID.get(mistake["type"], mistake["msg"].removeprefix("Value error, "))
            came = f", not {str(mistake['input'])[:40]!r}" if mistake["type"] == "string_pattern_mismatch" else ""
            lines[key] = f"{where}: {key or 'the file'}: {said}{came}"
    return ConfigError("\n".join(lines.values()), hint or "`barwatch validate` checks every file again")


def _variable(place: Sequence[str | int]) -> str:
    """The environment variable that set a place or what is around it, as words for an error; empty without one."""
    names = {name.upper(): name for name in os.environ}
    for length in range(len(place), 0, -1):
        name = "BARWATCH__" + "__".join(map(str, place[:length])).upper()
        if name in names:
            return f"environment variable {names[name]}"
    return ""


_SAID = {
    "tuple_type": 'expected a list, such as ["a", "b"]',
    "string_type": 'expected text, such as "a"',
    "too_short": "must not be empty",
    "string_pattern_mismatch": "has a character that cannot stand here, or is empty; expected letters, digits, - or _"
    " (in symbols also . ^ =)",
    "union_tag_not_found": 'needs kind = "…"',
}


def _where(path: Path, text: str, place: Sequence[str | int]) -> str:
    line, column = locate(text, place)
    return f"{path}:{line}:{column}"


def _place(loc: Sequence[str | int], written: Any) -> list[str | int]:
    """The keys of a mistake's place: pydantic counts the kind of a table among them, which nobody wrote as a key."""
    place = []
    for part in loc:
        table = written if isinstance(written, dict) else {}
        if part not in table and part == table.get("kind"):
            continue
        place.append(part)
        written = written[part] if isinstance(written, list) and isinstance(part, int) else table.get(part)
    return place


def _names(model: type[BaseModel]) -> Iterable[str]:
    """Every key that a model and the models in it know."""
    for name, field in model.model_fields.items():
        yield name
        for inner in _models(field.annotation):
            yield from _names(inner)


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)
