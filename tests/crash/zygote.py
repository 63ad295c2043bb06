"""The zygote: a process that has loaded Barwatch, and forks a child for each command so that none has to load it again.

A child runs the real entry point and can really be killed. A *point* is a place between two steps that the outside can
tell apart: before each SQL statement, each write to a file and each use of a connection; each is named after the step
that would have followed. The child writes the points it reaches into its *trail*, and kills itself at its *fatal* one.
The zygote runs no Polars query itself: a child of a process that has run one would hang.
"""

import json
import os
import re
import signal
import socket
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STATEMENT = re.compile(
    r"(?P<verb>INSERT(?: OR REPLACE)? INTO|UPDATE|DELETE FROM|SELECT|PRAGMA|BEGIN|COMMIT|ROLLBACK|\w+)"
    r"(?:.*?\bFROM)?\s*(?P<what>\w*)(?: SET state = '(?P<state>\w+)')?",
    re.DOTALL,
)


class Trail:
    """The points that a process reaches, and the one at which it ends."""

    def __init__(self, path: Path, fatal: dict[str, Any]) -> None:
        self._file = path.open("wb", buffering=0)
        self._number = fatal.get("number")
        self._name = fatal.get("name")
        self._after = fatal.get("after", False)
        self._nth = fatal.get("nth", 1)
        self._seen: Counter[str] = Counter()

    def reached(self, name: str, last_act: Callable[[], object] = lambda: None) -> None:
        """The process stands before the step of that name; `last_act` is done only if it ends here."""
        over = self._after and self._seen[self._name] == self._nth
        self._file.write(f"{name}\n".encode())
        self._seen[name] += 1
        here = not self._after and name == self._name and self._seen[name] == self._nth
        if over or here or self._seen.total() - 1 == self._number:
            last_act()
            os.kill(os.getpid(), signal.SIGKILL)


def follow(trail: Trail) -> None:
    """Lay the trail through the standard library's ways to the outside."""
    connect, write, fsync = sqlite3.connect, os.write, os.fsync
    send, receive = socket.socket.send, socket.socket.recv

    def traced_connect(database: str, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(database, *args, **kwargs)
        connection.set_trace_callback(_Statements(trail, Path(database.partition("?")[0]).stem))
        return connection

    def traced_write(descriptor: int, content: Any) -> int:
        trail.reached("file: write")
        trail.reached("file: second half of a write", lambda: write(descriptor, content[: len(content) // 2]))
        return write(descriptor, content)

    def traced_fsync(descriptor: int) -> None:
        trail.reached("file: fsync")
        fsync(descriptor)

    def traced_send(self: socket.socket, content: Any, *flags: int) -> int:
        if self.family == socket.AF_INET:
            trail.reached("hook: send")
            trail.reached("hook: second half of a send", lambda: send(self, content[: len(content) // 2]))
        return send(self, content, *flags)

    def traced_receive(self: socket.socket, *args: int) -> bytes:
        if self.family == socket.AF_INET:
            trail.reached("hook: receive")
        return receive(self, *args)

    sqlite3.connect, os.write, os.fsync = traced_connect, traced_write, traced_fsync
    socket.socket.send, socket.socket.recv = traced_send, traced_receive


class _Statements:
    """Names the statements of one database; a COMMIT by the last write of its transaction."""

    def __init__(self, trail: Trail, database: str) -> None:
        self._trail = trail
        self._database = database
        self._last = ""

    def __call__(self, sql: str) -> None:
        match = _STATEMENT.match(sql.strip())
        assert match, sql
        verb, what, state = match["verb"], match["what"], match["state"]
        name = " ".join(part for part in (verb, what, state) if part)
        if verb == "COMMIT":
            name = f"COMMIT of {self._last}"
        elif verb not in ("SELECT", "PRAGMA", "BEGIN"):
            self._last = name
        self._trail.reached(f"{self._database}: {name}")


def load() -> Callable[[], None]:
    """The entry point, with everything loaded that a command loads on its way."""
    import anyio._backends._asyncio
    import apscheduler.schedulers.asyncio
    import exchange_calendars
    import rich.table
    import sqlite_utils
    import standardwebhooks  # noqa: F401

    import monitor.daemon
    import monitor.net
    import monitor.scheduler
    from monitor.cli.app import main

    return main


def ended(pid: int, seconds: float) -> int | None:
    """The exit code of a child as subprocess has it, or None when it has not ended within that time."""
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.002)


def become(order: dict[str, Any]) -> None:
    """Make this child the command: its arguments, folder, output, and the trail it leaves."""
    os.chdir(order["folder"])
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.argv = ["barwatch", *order["arguments"]]
    if order["fatal"] is not None:
        follow(Trail(Path("trail"), order["fatal"]))


def serve() -> Callable[[], None] | None:
    """Start and await children as standard input says; returns in each child, and at the end of the input."""
    main = load()
    print("ready", flush=True)
    running: set[int] = set()
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        if "wait" in order:
            code = ended(order["wait"], order["seconds"])
            if code is not None:
                running.discard(order["wait"])
            print(json.dumps(code), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            become(order)
            return main
        running.add(pid)
        print(pid, flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    return None


if __name__ == "__main__":
    command = serve()
    if command:
        command()
