"""A real webhook receiver on loopback: it records every request it has read in full, and answers as it is told.

    with WebhookReceiver(Answer(503), Answer(delay=0.2)) as receiver:
        …post to receiver.url…
    receiver.received[0].sha256

It runs in a thread of its own, so a test may block or kill what it tests. Answers are used up in order; after the
last one `then` holds.
"""

import asyncio
import hashlib
import ssl
import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

NO_BODY = {204, 304}


@dataclass(frozen=True)
class Answer:
    """How one request is answered; `raw` replaces the whole answer, `drop` hangs up without one.

    Unit: `delay` before the answer and `drip` after each of its bytes are seconds.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    drip: float = 0.0
    drop: bool = False
    raw: bytes | None = None

    def encoded(self) -> bytes:
        if self.raw is not None:
            return self.raw
        lines = [f"HTTP/1.1 {self.status} -", *(f"{name}: {value}" for name, value in self.headers.items())]
        if self.status >= 200 and self.status not in NO_BODY:
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


@dataclass(frozen=True)
class Received:
    """One request; `order` counts from 0 over all connections, header names are in lower case."""

    order: int
    connection: int
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers.get("webhook-id", "")

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class WebhookReceiver:
    """The receiver; usable from any thread between `with` and its end, its records also after it."""

    def __init__(self, *answers: Answer, then: Answer | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._answers = deque(answers)
        self._then = then or Answer()
        self._tls = tls
        self._received: list[Received] = []
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._connections = 0
        self._handlers: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> "WebhookReceiver":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hook"

    @property
    def received(self) -> list[Received]:
        with self._changed:
            return list(self._received)

    @property
    def copies(self) -> Counter[str]:
        """How often each id was received."""
        return Counter(request.id for request in self.received)

    def answer(self, *answers: Answer) -> None:
        """More answers, after those already waiting."""
        with self._changed:
            self._answers.extend(answers)

    def wait_for(self, count: int, timeout: float = 5.0) -> list[Received]:
        """The requests, as soon as there are `count` of them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._received) >= count, timeout):
                raise TimeoutError(f"{len(self._received)} of {count} requests came within {timeout} s")
            return list(self._received)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.create_task(self._handle(self._connections, reader, writer))
        self._connections += 1
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _handle(self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                answer = self._record(connection, *await _read_request(reader))
                await asyncio.sleep(answer.delay)
                if answer.drop:
                    break
                await _send(writer, answer)
                if answer.raw is not None or answer.status < 200:
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    def _record(self, connection: int, path: str, headers: dict[str, str], body: bytes) -> Answer:
        with self._changed:
            self._received.append(Received(len(self._received), connection, path, headers, body))
            self._changed.notify_all()
            return self._answers.popleft() if self._answers else self._then


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    whole = answer.encoded()
    for part in (bytes([byte]) for byte in whole) if answer.drip else (whole,):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(answer.drip)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    path = head[0].split(" ")[1]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return path, headers, body
