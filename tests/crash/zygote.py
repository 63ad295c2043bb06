"""The zygote: a process that has loaded Barwatch, and forks a child for each command so that none has to load it again.

A child runs the real entry point and can really be killed. A *point* is a place between two steps that the outside can
tell apart: before each SQL statement, each write to a file and each use of a connection. It has the name of the step
that comes next. The child writes the points it comes to into the file `trail`, and kills itself at the *fatal* one.
The zygote runs no Polars query itself: a child of a process that has run one would hang.
"""

import importlib
import json
import os
import re
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LOADED_ON_THE_WAY = (
    "anyio._backends._asyncio", "apscheduler.schedulers.asyncio", "monitor.net", "monitor.scheduler", "rich.table",
    "sqlite_utils", "standardwebhooks",
)  # fmt: skip
_STATEMENT = re.compile(
    r"\s*(?P<verb>\w+)(?: OR \w+)?(?: INTO| FROM)?(?:(?<=SELECT).*?\bFROM)?\s*(?P<what>\w*)"
    r"(?: SET state = (?P<state>'\w+'))?",
    re.DOTALL,
)


class Trail:
    """The points that a process comes to, written down, and the one at which it ends.

    `fatal` names that one by `number`, counted from 0, or by `name` and `nth`, counted from 1; `after` makes it the
    point that comes so many points later. Without either the process lives.
    """

    def __init__(self, path: Path, fatal: dict[str, Any]) -> None:
        self._file = path.open("wb", buffering=0)
        self._fatal = {"number": -1, "name": "", "nth": 1, "after": 0} | fatal
        self._seen: Counter[Any] = Counter()
        self._left: int | None = None
        self._one_at_a_time = threading.Lock()

    def at(self, name: str, last_act: Callable[[], object] = lambda: None) -> None:
        """The process stands before the step of that name; `last_act` is done only if it ends here."""
        fatal = self._fatal
        with self._one_at_a_time:
            number = self._seen.total()
            self._file.write(f"{name}\n".encode())
            self._seen[name] += 1
            if self._left is not None:
                self._left -= 1
            elif name == fatal["name"] and self._seen[name] == fatal["nth"]:
                self._left = int(fatal["after"])
            if number == fatal["number"] or self._left == 0:
                last_act()
                os.kill(os.getpid(), signal.SIGKILL)


class _Statements:
    """Names the statements of one database, and a COMMIT by the last write before it."""

    def __init__(self, trail: Trail, database: str) -> None:
        self._trail = trail
        self._database = database
        self._write = ""

    def __call__(self, sql: str) -> None:
        match = _STATEMENT.match(sql)
        name = " ".join(part for part in match.groups() if part) if match else sql
        if name.startswith(("INSERT", "UPDATE", "DELETE")):
            self._write = name
        self._trail.at(f"{self._database}: {name}" + (f" after {self._write}" if name == "COMMIT" else ""))


def follow(trail: Trail) -> None:
    """Lay the trail through the ways of the standard library to the outside."""
    connect, write, fsync = sqlite3.connect, os.write, os.fsync
    send, receive = socket.socket.send, socket.socket.recv

    def traced_connect(database: str, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(database, *args, **kwargs)
        connection.set_trace_callback(_Statements(trail, Path(str(database).partition("?")[0]).stem))
        return connection

    def traced_write(descriptor: int, content: Any) -> int:
        trail.at("file: write")
        trail.at("file: second half of a write", lambda: write(descriptor, content[: len(content) // 2]))
        return write(descriptor, content)

    def traced_fsync(descriptor: int) -> None:
        trail.at("file: sync")
        fsync(descriptor)

    def traced_send(self: socket.socket, content: Any, *flags: int) -> int:
        if self.family == socket.AF_INET:
            trail.at("hook: send")
            trail.at("hook: second half of a send", lambda: send(self, content[: len(content) // 2]))
        return send(self, content, *flags)

    def traced_receive(self: socket.socket, *args: int) -> bytes:
        if self.family == socket.AF_INET:
            trail.at("hook: receive")
        return receive(self, *args)

    sqlite3.connect, os.write, os.fsync = traced_connect, traced_write, traced_fsync
    socket.socket.send, socket.socket.recv = traced_send, traced_receive


def load() -> Callable[[], None]:
    """The entry point, with everything loaded that a command loads on its way, the calendar of 24/7 included."""
    for name in _LOADED_ON_THE_WAY:
        importlib.import_module(name)
    import exchange_calendars

    from monitor import assembly
    from monitor.cli.app import main

    until = (assembly.clock() + assembly.CALENDAR_AHEAD).date()
    exchange_calendars.get_calendar("24/7", start=assembly.FIRST_SESSION.isoformat(), end=until.isoformat())
    return main


def become(folder: str, arguments: list[str], fatal: dict[str, Any] | None) -> None:
    """Turn this child into the command: its folder, its output, its arguments, and the trail it leaves."""
    os.chdir(folder)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.argv = ["barwatch", *arguments]
    if fatal is not None:
        follow(Trail(Path("trail"), fatal))


def ended(pid: int, seconds: float) -> int | None:
    """The exit code of a child as subprocess has it; None when it has not ended within that time."""
    until = time.monotonic() + seconds
    while True:
        found, state = os.waitpid(pid, os.WNOHANG)
        if found or time.monotonic() > until:
            return os.waitstatus_to_exitcode(state) if found else None
        time.sleep(0.002)


def serve(main: Callable[[], None]) -> Callable[[], None] | None:
    """Do as each line of standard input says, `{"start": …}` or `{"wait": …}`; in a child, return what it is to run."""
    print(json.dumps("ready"), flush=True)
    running: set[int] = set()
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        if "wait" in order:
            answer = ended(**order["wait"])
            running -= {order["wait"]["pid"]} if answer is not None else set()
        else:
            answer = os.fork()
            if answer == 0:
                become(**order["start"])
                return main
            running.add(answer)
        print(json.dumps(answer), flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    return None


if __name__ == "__main__":
    command = serve(load())
    if command:
        command()
