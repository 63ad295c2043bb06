"""The console: a message in colour on a terminal, one line of text anywhere else.

Nothing but the stream knows whether a person has seen it, so a message is sent when the stream has taken it.
"""

import asyncio
from datetime import UTC, datetime
from typing import Literal, TextIO

from pydantic import BaseModel, ConfigDict, Field

from monitor.channels.body import printable, seal, unseal
from monitor.errors import TransientFailure
from monitor.ports import Message

_COLOURS = {"info": "cyan", "warning": "yellow", "critical": "red"}


class ConsoleSettings(BaseModel):
    """Messages on standard output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["console"] = Field("console", description="messages on standard output")


class Console:
    """A channel that writes to a text stream, which stays its owner's."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def seal(self, message: Message) -> bytes:
        """The body of the message; it becomes text when it is delivered."""
        return seal(message)

    async def deliver(self, message_id: str, payload: bytes, now: datetime) -> str:
        """Write the message and flush.

        Raises: TransientFailure.
        """
        return await asyncio.to_thread(self._write, message_id, payload, now)

    async def aclose(self) -> None:
        """Nothing to let go of: the stream is not the channel's."""

    def _write(self, message_id: str, payload: bytes, now: datetime) -> str:
        body = unseal(payload)
        stamp = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        try:
            if self._stream.isatty():
                self._show(stamp, body["severity"], body["title"], body["text"].split("\n"))
            else:
                line = f"{stamp} {body['severity']} {body['title']} [{message_id}]"
                self._stream.write(self._writable(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError) as error:  # a closed stream raises ValueError
            raise TransientFailure(f"the console of channel {self.name} cannot be written: {error}") from error
        return "written"

    def _show(self, stamp: str, severity: str, title: str, lines: list[str]) -> None:
        from rich.console import Console as Terminal  # it loads slowly
        from rich.text import Text

        colour = _COLOURS.get(severity, "white")
        text = Text.assemble(
            (f"{stamp} ", "dim"),
            (f"{severity:<8} ", colour),
            (self._writable(title), f"bold {colour}"),
            *((f"\n  {self._writable(line)}", "dim") for line in lines),
        )
        Terminal(file=self._stream, highlight=False).print(text)

    def _writable(self, text: str) -> str:
        encoding = self._stream.encoding or "utf-8"
        return printable(text).encode(encoding, "replace").decode(encoding)
