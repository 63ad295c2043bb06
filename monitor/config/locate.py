"""Where in a TOML file a key stands, so that an error can say file:line:column.

It reads headers and the beginnings of lines only; what stands inside a value is reported at the value's key.
"""

import re
from collections.abc import Sequence

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"(\s*)([A-Za-z0-9_\-\"'.]+)\s*=\s*")

Path = tuple[str | int, ...]


def positions(text: str) -> dict[Path, tuple[int, int]]:
    """The line and column, from 1, of each table header and of the value of each key."""
    found: dict[Path, tuple[int, int]] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _dotted(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            found.setdefault(table, (number, header.start(1) + 1))
        elif key := _KEY.match(line):
            found.setdefault((*table, *_dotted(key[2])), (number, key.end() + 1))
    return found


def locate(text: str, path: Sequence[str | int]) -> tuple[int, int]:
    """The position of a key, or of the nearest thing around it."""
    found = positions(text)
    for length in range(len(path), 0, -1):
        if position := found.get(tuple(path[:length])):
            return position
    return 1, 1


def _dotted(key: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in key.split("."))
