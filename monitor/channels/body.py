"""The body of a message: the JSON that a program receives, and what the channels that show text are sealed in.

`docs/webhook.md` describes it to those who receive it.
"""

import json
from typing import Any

from monitor.ports import Message

VERSION = 1


def seal(message: Message) -> bytes:
    """The body as UTF-8, on one line."""
    body = {
        "version": VERSION,
        "id": message.id,
        "severity": message.severity,
        "title": message.title,
        "text": "\n".join(message.lines),
        "events": message.events,
    }
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def unseal(payload: bytes) -> dict[str, Any]:
    """The body again, as plain values."""
    body: dict[str, Any] = json.loads(payload)
    return body


def printable(text: str) -> str:
    """The text on one line, without what could steer a terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
