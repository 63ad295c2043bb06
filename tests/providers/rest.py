"""Four market data APIs on loopback, each a real HTTP server that keeps to its documentation.

    with BinanceApi(now) as api:
        api.give("BTCUSDT", "1d", rows)
        api.faults.append(Said(503))
        …ask api.url…
    api.asked[0].query["symbol"]

A row is a label and open, high, low, close and volume. `faults` are said in place of the next answers, None is the
answer itself. `now` is the time on the server's clock.
"""

import base64
import gzip
import json
import threading
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALPACA = {"1Min", "2Min", "5Min", "15Min", "30Min", "1Hour", "1Day"}
_BINANCE = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "1d": 1440}
_COINBASE = {"60", "300", "900", "3600", "21600", "86400"}
_TWELVE_DATA = {"1min", "5min", "15min", "30min", "45min", "1h", "2h", "4h", "1day", "1week", "1month"}
Row = tuple[datetime, float, float, float, float, float]


@dataclass(frozen=True)
class Asked:
    """One request; header names in lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Said:
    """One answer; a body that is no bytes is sent as JSON. `drop` hangs up instead, `hang` never answers."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    hang: bool = False

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class RestApi:
    """A server in threads of its own; what it has may be changed between requests."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.asked: list[Asked] = []
        self.faults: deque[Said | None] = deque()
        self.bars: dict[tuple[str, str], list[Row]] = defaultdict(list)
        self.over = threading.Event()
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def give(self, symbol: str, interval: str, rows: Sequence[Row]) -> None:
        """Have these bars of a symbol, both as the API writes them."""
        self.bars[symbol, interval] = list(rows)

    def note(self, asked: Asked) -> None:
        with self._changed:
            self.asked.append(asked)
            self._changed.notify_all()

    def wait_for(self, count: int, timeout: float = 5.0) -> bool:
        """Whether so many requests have come within that time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.asked) >= count, timeout)

    def say(self, asked: Asked) -> Said:
        raise NotImplementedError


class _Handler(BaseHTTPRequestHandler):
    api: RestApi
    protocol_version = "HTTP/1.1"
    wbufsize = StreamRequestHandler.rbufsize  # an answer leaves in one piece
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(unquote(url.path), dict(parse_qsl(url.query, keep_blank_values=True)), headers)
        self.api.note(asked)
        said = (self.api.faults.popleft() if self.api.faults else None) or self.api.say(asked)
        if said.hang:
            self.api.over.wait()
        if said.drop or said.hang:
            self.close_connection = True
            return
        content = said.content
        packed = {}
        if len(content) > 256 and "gzip" in headers.get("accept-encoding", ""):
            content, packed = gzip.compress(content, 1), {"Content-Encoding": "gzip"}
        self.send_response_only(said.status)
        told = {"Date": format_datetime(self.api.now, usegmt=True), "Content-Length": str(len(content))}
        for name, value in (told | packed | dict(said.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class AlpacaApi(RestApi):
    """https://docs.alpaca.markets/reference/stockbars and …/corporateactions; the free plan."""

    page = 10_000

    def __init__(self, now: datetime, key: str = "key", secret: str = "secret") -> None:
        super().__init__(now)
        self._keys = key, secret
        self.invalid: set[str] = set()
        self.splits: list[dict[str, Any]] = []

    def say(self, asked: Asked) -> Said:
        if (asked.headers.get("apca-api-key-id"), asked.headers.get("apca-api-secret-key")) != self._keys:
            return Said(403, {"message": "forbidden."})
        return {"/v2/stocks/bars": self._bars, "/v1/corporate-actions": self._actions}[asked.path](asked.query)

    def _bars(self, query: Mapping[str, str]) -> Said:
        symbols = query["symbols"].split(",")
        if bad := next((symbol for symbol in symbols if symbol in self.invalid or "-" in symbol), None):
            return Said(400, {"message": f"invalid symbol: {bad}"})
        if query["timeframe"] not in _ALPACA:
            return Said(400, {"message": f"invalid timeframe: {query['timeframe']}"})
        start, end = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
        if end < start:
            return Said(400, {"message": "end should not be before start"})
        if query["feed"] == "sip" and end > self.now - timedelta(minutes=15):
            return Said(403, {"message": "subscription does not permit querying recent SIP data"})
        found = [
            (symbol, _object(row))
            for symbol in sorted(symbols)
            for row in self.bars[symbol, query["timeframe"]]
            if start <= row[0] <= end
        ]
        first = int(base64.b64decode(query["page_token"])) if "page_token" in query else 0
        last = first + min(int(query.get("limit", 1000)), self.page)
        bars: dict[str, list[Any]] = {}
        for symbol, bar in found[first:last]:
            bars.setdefault(symbol, []).append(bar)
        token = base64.b64encode(str(last).encode()).decode() if last < len(found) else None
        return Said(200, {"bars": bars, "next_page_token": token}, {"X-RateLimit-Remaining": "199"})

    def _actions(self, query: Mapping[str, str]) -> Said:
        actions: dict[str, list[Any]] = {}
        for split in self.splits:
            kind = "forward_split" if split["new_rate"] > split["old_rate"] else "reverse_split"
            if (
                split["symbol"] in query["symbols"].split(",")
                and kind in query["types"].split(",")
                and query["start"] <= split["process_date"] <= query["end"]
            ):
                actions.setdefault(f"{kind}s", []).append(split)
        return Said(200, {"corporate_actions": actions, "next_page_token": None})


def _object(row: Row) -> dict[str, Any]:
    bar = dict(zip("ohlcv", row[1:], strict=True))
    return {"t": f"{row[0]:%Y-%m-%dT%H:%M:%SZ}", **bar, "n": 1, "vw": bar["c"]}


class BinanceApi(RestApi):
    """https://github.com/binance/binance-spot-api-docs, rest-api.md and errors.md."""

    def say(self, asked: Asked) -> Said:
        query, weight = asked.query, {"X-MBX-USED-WEIGHT-1M": str(2 * len(self.asked))}
        if asked.path != "/api/v3/klines":
            return Said(404, b"<html>nothing here</html>")
        if (query.get("symbol"), query.get("interval")) not in self.bars:
            code, message = (
                (-1121, "Invalid symbol.") if query.get("interval") in _BINANCE else (-1120, "Invalid interval.")
            )
            return Said(400, {"code": code, "msg": message}, weight)
        first, last = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 62))
        found = [row for row in self.bars[query["symbol"], query["interval"]] if first <= _ms(row[0]) <= last]
        limit = min(int(query.get("limit", 500)), 1000)
        length = timedelta(minutes=_BINANCE[query["interval"]])
        return Said(200, [_kline(row, length) for row in found[:limit]], weight)


def _ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _kline(row: Row, length: timedelta) -> list[Any]:
    values = [f"{value:.8f}" for value in row[1:]]
    return [_ms(row[0]), *values, _ms(row[0] + length) - 1, "0.0", 7, "0.0", "0.0", "0"]


class CoinbaseApi(RestApi):
    """https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-candles"""

    early = 0  # how many bars before `start` it sends beside those asked for

    def say(self, asked: Asked) -> Said:
        product, granularity = asked.path.split("/")[2], asked.query.get("granularity", "")
        if not any(symbol == product for symbol, _ in self.bars):
            return Said(404, {"message": "NotFound"})
        if granularity not in _COINBASE:
            return Said(400, {"message": "Unsupported granularity"})
        length = timedelta(seconds=int(granularity))
        start, end = (datetime.fromisoformat(asked.query[name]) for name in ("start", "end"))
        if (end - start) // length + 1 > 300:
            too_many = "granularity too small for the requested time range. Count of aggregations requested exceeds 300"
            return Said(400, {"message": too_many})
        rows = self.bars[product, granularity]
        given = [row for row in rows if start - self.early * length <= row[0] <= end]
        return Said(200, [_bucket(row) for row in reversed(given)])


def _bucket(row: Row) -> list[Any]:
    label, first, high, low, last, volume = row
    return [(label - EPOCH) // timedelta(seconds=1), low, high, first, last, volume]


class TwelveDataApi(RestApi):
    """https://twelvedata.com/docs: time series, errors, credits. Symbols are given as `CODE` or `CODE:MIC`."""

    def __init__(self, now: datetime, key: str = "key") -> None:
        super().__init__(now)
        self._key = key
        self.credits = 1000
        self.meta: dict[str, dict[str, str]] = {}

    def say(self, asked: Asked) -> Said:
        if asked.headers.get("authorization") != f"apikey {self._key}":
            return _error(401, "**apikey** parameter is incorrect or not specified. You can get your free API key …")
        query, used = asked.query, len(self.asked)
        if used > self.credits:
            spent = f"{used} API credits were used, with the current limit being {self.credits}."
            return _error(429, f"You have run out of API credits for the current minute. {spent}")
        name = query["symbol"] + (f":{query['mic_code']}" if "mic_code" in query else "")
        if not any(symbol == name for symbol, _ in self.bars):
            return _error(
                404, "**symbol** or **figi** parameter is missing or invalid. Please provide a valid symbol …"
            )
        if query["interval"] not in _TWELVE_DATA:
            return _error(400, f"Invalid **interval** provided: {query['interval']}.")
        meta = {"symbol": query["symbol"], "interval": query["interval"]} | self.meta.get(name, {})
        values = self._values(self.bars[name, query["interval"]], query, meta)
        if not values:
            return _error(400, "No data is available on the specified dates. Try setting different start/end dates.")
        left = {"api-credits-used": str(used), "api-credits-left": str(self.credits - used)}
        return Said(200, {"meta": meta, "values": values, "status": "ok"}, left)

    def _values(self, rows: list[Row], query: Mapping[str, str], meta: Mapping[str, str]) -> list[dict[str, str]]:
        daily = query["interval"] == "1day"
        zone = ZoneInfo(query.get("timezone", "UTC" if daily else meta.get("exchange_timezone", "UTC")))
        written = [(f"{row[0].astimezone(zone):{'%Y-%m-%d' if daily else '%Y-%m-%d %H:%M:%S'}}", row) for row in rows]
        start = query.get("start_date", "").replace("T", " ")
        values = [_value(label, row, meta) for label, row in written if label >= start]
        values = values[-min(int(query.get("outputsize", 30)), 5000) :]
        return values if query.get("order") == "ASC" else values[::-1]


def _value(label: str, row: Row, meta: Mapping[str, str]) -> dict[str, str]:
    value = {"datetime": label} | dict(
        zip(("open", "high", "low", "close"), (f"{price:.5f}" for price in row[1:5]), strict=True)
    )
    return value if meta.get("type") == "Physical Currency" else value | {"volume": f"{row[5]:.0f}"}


def _error(code: int, message: str) -> Said:
    return Said(code, {"code": code, "message": message, "status": "error"})
