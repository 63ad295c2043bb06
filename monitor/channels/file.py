"""The file: one message a line, as JSON, on disk before it counts as sent.

A line is *torn* when a crash or a full disk cut it short. The next message then begins a new line, so a reader who
skips what is not JSON loses nothing. The file is opened for each message: it may be renamed away at any time.
"""

import asyncio
import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from monitor.channels.body import seal
from monitor.errors import TransientFailure, UnknownOutcome
from monitor.ports import Message

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT


class FileSettings(BaseModel):
    """Messages as JSON lines in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["file"] = Field("file", description="messages as JSON lines in a file")
    path: Path = Field(description="the file; made if it is not there, its directory is not")


class File:
    """A channel that appends to a file."""

    def __init__(self, name: str, settings: FileSettings) -> None:
        self.name = name
        self._path = settings.path.expanduser()

    def seal(self, message: Message) -> bytes:
        """The line, without its end."""
        return seal(message)

    async def deliver(self, message_id: str, payload: bytes, now: datetime) -> str:
        """Append the line and wait until it is on disk.

        Raises: TransientFailure; UnknownOutcome where the line was written but may not have reached the disk.
        """
        return await asyncio.to_thread(self._append, payload)

    async def aclose(self) -> None:
        """Nothing to let go of: the file is open only while a line is written."""

    def _append(self, line: bytes) -> str:
        written = False
        try:
            with os.fdopen(os.open(self._path, _FLAGS, 0o600), "rb+", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
                _write(file.fileno(), (b"\n" if torn else b"") + line + b"\n")
                written = True
                os.fsync(file.fileno())
            if size == 0:
                _sync_directory(self._path.parent)
        except OSError as error:
            reason = error.strerror or error
            if written:
                raise UnknownOutcome(f"{self._path} was written, but may not be on disk: {reason}") from error
            raise TransientFailure(f"{self._path} cannot be written: {reason}") from error
        return "written"


def _write(descriptor: int, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(path: Path) -> None:
    """Put the name of a new file on disk, which the file's own sync does not."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
