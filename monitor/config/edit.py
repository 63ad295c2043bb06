"""Edits of watchlist files that keep what a person wrote around them: comments, order, spaces.

The whole configuration is checked as it would be before the file is touched, and the file is replaced in one step.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array

from monitor.config.files import read_text
from monitor.config.snapshot import load_snapshot
from monitor.errors import ConfigError, InputError


def add_symbol(config: Path, path: Path, symbol: str, check: dict[str, Any] | None = None) -> None:
    """Add a symbol to a watchlist, and a check that watches it alone when one is given.

    Raises: InputError when nothing would change; ConfigError when the result is not valid.
    """

    def change(document: tomlkit.TOMLDocument) -> None:
        symbols = document.setdefault("symbols", tomlkit.array())
        if symbol not in symbols:
            symbols.append(symbol)
        elif check is None:
            raise InputError(f"{symbol} is already in {path}", "add a check for it with --when")
        if check is not None:
            checks = document.setdefault("checks", tomlkit.aot())
            table = tomlkit.inline_table() if isinstance(checks, Array) else tomlkit.table()
            table.update(check)
            table.trivia.indent = "" if isinstance(checks, Array) else "\n"
            checks.append(table)

    _edit(config, path, change)


def remove_symbol(config: Path, path: Path, symbol: str) -> None:
    """Take a symbol out of a watchlist, with the checks that watch it alone.

    Raises: InputError when it is not there; ConfigError when the result is not valid.
    """

    def change(document: tomlkit.TOMLDocument) -> None:
        if symbol not in document.get("symbols", []):
            raise InputError(f"{symbol} is not in {path}", f"there: {', '.join(document.get('symbols', []))}")
        document["symbols"].remove(symbol)
        document.get("markets", {}).pop(symbol, None)
        checks = document.get("checks", [])
        for place in reversed(range(len(checks))):
            narrowed = checks[place].get("symbols")
            if narrowed is not None and symbol in narrowed:
                narrowed.remove(symbol)
                if not narrowed:
                    del checks[place]

    _edit(config, path, change)


def _edit(config: Path, path: Path, change: Callable[[tomlkit.TOMLDocument], None]) -> None:
    text = read_text(path, "`barwatch watchlist list` names the watchlists there are").rstrip() + "\n"
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(
            f"{path}: not valid TOML: {error}", "mend it first; `barwatch validate` says where"
        ) from error
    change(document)
    edited = tomlkit.dumps(document)
    load_snapshot(config, {path: edited})
    _replace(path, edited)


def _replace(path: Path, text: str) -> None:
    """Put a new text in a file's place: readers see the old one or the new one, never a part."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(path.stat().st_mode & 0o777)
        Path(name).replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", "make the file and its folder writable") from error
