"""Yahoo on loopback: an HTTPS CONNECT proxy that is every host of yahoo.com itself, under a certificate of its own.

    with YahooEmulator(market) as yahoo:
        subprocess.run([...], env=os.environ | yahoo.environment)

Cookies and the crumb are given and asked for as Yahoo does. Nothing is passed on to the network. A request that hangs
does so until the client gives up or the emulator closes.
"""

import contextlib
import json
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

import trustme

from tests.yahoo.chart import Refused, chart, spoiled
from tests.yahoo.faults import HTML, TEXT, Answer, Fault, page, refusal
from tests.yahoo.market import YahooMarket

_CHART = "/v8/finance/chart/"
_COOKIE = "A3=d=AQAB&S=AQAA; Max-Age=31557600; Domain=.yahoo.com; Path=/; SameSite=None; Secure; HttpOnly"
_GIVEN = (("Set-Cookie", _COOKIE),)
_CRUMB = "haT3oykhHqZ"
_COOKIE_HOSTS = {"fc.yahoo.com": "cookie", "guce.yahoo.com": "consent", "consent.yahoo.com": "consent"}
_SESSION = "3_cc-session_emulated"


@dataclass(frozen=True)
class Request:
    """One request of a client; `at` is the emulated time, `status` what was answered, 0 when nothing was."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    at: datetime
    status: int

    @property
    def endpoint(self) -> str:
        """`chart`, `crumb`, `cookie`, `consent` or `other`."""
        if self.path.startswith(_CHART):
            return "chart"
        if self.path == "/v1/test/getcrumb":
            return "crumb"
        return _COOKIE_HOSTS.get(self.host, "other")

    @property
    def symbol(self) -> str:
        """The symbol of a chart."""
        return unquote(self.path.removeprefix(_CHART)) if self.endpoint == "chart" else ""


class YahooEmulator:
    """The proxy, listening as long as the context is open."""

    def __init__(self, market: YahooMarket | None = None) -> None:
        self.market = market or YahooMarket()
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._edge: dict[tuple[str, str], tuple[datetime, Answer]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="yahoo-")
        self.ca_file = Path(self._folder.name) / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.set_alpn_protocols(["http/1.1"])
        authority.issue_cert("yahoo.com", "*.yahoo.com", "*.finance.yahoo.com").configure_cert(self.tls)
        self._proxy = _Proxy(self)
        self._thread = threading.Thread(target=self._proxy.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.shutdown()
        self._proxy.hang_up()
        self._proxy.server_close()
        self._thread.join()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._proxy.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to take this for Yahoo."""
        bundles = dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), str(self.ca_file))
        return {"HTTPS_PROXY": self.url, "https_proxy": self.url, "NO_PROXY": "", "no_proxy": ""} | bundles

    @property
    def requests(self) -> list[Request]:
        """What came, in order."""
        with self._changed:
            return list(self._requests)

    def wait_for(self, count: int, timeout: float = 5.0) -> list[Request]:
        """The requests, as soon as there are `count` of them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(f"{len(self._requests)} of {count} requests came within {timeout} s")
            return list(self._requests)

    def reset(self) -> None:
        """Forget requests and faults."""
        self.market.heal()
        with self._changed:
            self._requests.clear()
            self._edge.clear()

    def serve(self, method: str, host: str, target: str, cookies: str) -> Answer | str:
        """The answer to a request of a target, or what becomes of the connection."""
        parts, at = urlsplit(target), self.market.clock()
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        request = Request(method, host, parts.path, query, at, 0)
        answer = self._answer(request, target, cookies)
        with self._changed:
            status = answer.status if isinstance(answer, Answer) else 0
            self._requests.append(replace(request, status=status))
            self._changed.notify_all()
        return answer

    def _answer(self, request: Request, target: str, cookies: str) -> Answer | str:
        fault = self.market.fault(request.endpoint, request.symbol, request.at)
        if fault and (isinstance(fault.effect, Answer) or fault.effect in {"hang", "reset"}):
            return fault.effect
        match request.endpoint:
            case "chart":
                return self._chart(request, fault) if fault else self._at_the_edge(request, target)
            case "crumb" if "A3=" not in cookies:
                return refusal(401, "Unauthorized", "Invalid Cookie", "finance")
            case "crumb":
                return Answer(200, _CRUMB.encode(), TEXT)
            case "cookie":
                return Answer(404, b"", HTML, _GIVEN)
            case "consent":
                return _consent(request)
        if request.host == "finance.yahoo.com":
            return page(200, "Yahoo Finance")
        return refusal(404, "Not Found", f"No such resource: {request.path}", "finance")

    def _at_the_edge(self, request: Request, target: str) -> Answer:
        """The answer that an edge cache has, or gets now."""
        given = self._edge.get((request.host, target))
        if given and request.at - given[0] < self.market.edge:
            return given[1]
        answer = self._chart(request, None)
        if self.market.edge:
            self._edge[request.host, target] = request.at, answer
        return answer

    def _chart(self, request: Request, fault: Fault | None) -> Answer:
        if self.market.asks_for_crumb and request.query.get("crumb") != _CRUMB:
            return refusal(401, "Unauthorized", "Invalid Crumb", "finance")
        try:
            answered = chart(self.market, request.symbol, request.query, request.at - self.market.edge)
        except Refused as refused:
            return refused.answer
        return Answer(200, json.dumps(spoiled(answered, fault) if fault else answered).encode())


def _consent(request: Request) -> Answer:
    """The way of a European visitor to the cookie: a page to agree to, then a tour of redirects."""
    if request.path == "/consent":
        return _redirect(f"https://consent.yahoo.com/v2/collectConsent?sessionId={_SESSION}")
    if request.method == "POST":
        return _redirect(f"https://guce.yahoo.com/copyConsent?sessionId={_SESSION}")
    if request.path == "/copyConsent":
        return _redirect("https://finance.yahoo.com/?guccounter=1", *_GIVEN)
    hidden = {"csrfToken": "GoNrer0", "sessionId": _SESSION, "namespace": "yahoo"}
    fields = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in hidden.items())
    return Answer(200, f'<html><body><form method="post" action="">{fields}</form></body></html>'.encode(), HTML)


def _redirect(to: str, *headers: tuple[str, str]) -> Answer:
    return Answer(302, b"", HTML, (("Location", to), *headers))


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, yahoo: YahooEmulator) -> None:
        self.yahoo = yahoo
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Connection)

    def hang_up(self) -> None:
        """End every connection, whatever it waits for."""
        for connection in self.open.copy():
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle of something is no error here."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Proxy

    def setup(self) -> None:
        super().setup()
        self.host = ""
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()
        self.connection.close()

    def do_CONNECT(self) -> None:
        self.host = self.path.rpartition(":")[0]
        if not f".{self.host}".endswith(".yahoo.com"):
            self._send(Answer(502))
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.server.open.discard(self.connection)
        self.connection = self.server.yahoo.tls.wrap_socket(self.connection, server_side=True)
        self.server.open.add(self.connection)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.yahoo.serve(self.command, self.host, self.path, self.headers.get("Cookie", ""))
        if isinstance(answer, Answer):
            self._send(answer)
            return
        self.close_connection = True
        if answer == "hang":
            self.rfile.read(1)
        else:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Requests are recorded, not printed."""

    def _send(self, answer: Answer) -> None:
        now = self.server.yahoo.market.clock()
        self.send_response_only(answer.status)
        self.send_header("Date", self.date_time_string(int(now.timestamp())))
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        self._headers_buffer += [b"\r\n", answer.body]
        self.flush_headers()
