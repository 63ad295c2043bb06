"""The market client: gets what market data APIs answer, for threads that block for it.

One loop in a thread of its own does the exchanges, so that each has a total time-out, whatever the server sends, and
all of them end at once when the client is closed. Redirects are not followed, cookies not kept, the environment
(proxies, netrc) not asked. An error names the host and nothing else of the URL or the headers, which may hold a key.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextlib import aclosing
from functools import cache
from threading import Lock, Thread

import httpcore
import httpx

from monitor.errors import Unreachable
from monitor.net import GuardedTransport, Reply, reason_of

TOTAL_SECONDS = 30.0
ANSWER_LIMIT = 32 * 1024 * 1024


_trust = cache(httpcore.default_ssl_context)  # it takes 50 ms to make


class MarketClient:
    """A client for one API; any number of threads may get from it.

    Unit: `answer_limit` is bytes, after unpacking.
    """

    def __init__(self, *, total_seconds: float = TOTAL_SECONDS, answer_limit: int = ANSWER_LIMIT) -> None:
        self._total_seconds = total_seconds
        self._answer_limit = answer_limit
        self._transport = GuardedTransport(allow_private=True, trust=_trust())
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="market client", daemon=True)
        self._thread.start()
        self._lock = Lock()
        self._closed = False

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """The whole reply, whatever its status.

        Raises: Unreachable.
        """
        request = httpx.Request("GET", url, params=params, headers={"accept-encoding": "gzip", **headers})
        with self._lock:
            if self._closed:
                raise Unreachable(f"host {request.url.host} is not asked any more: the client was closed")
            exchange = asyncio.run_coroutine_threadsafe(self._get(request), self._loop)
        try:
            return exchange.result()
        except CancelledError:
            raise Unreachable(
                f"the exchange with host {request.url.host} was cut short: the client was closed"
            ) from None

    async def _get(self, request: httpx.Request) -> Reply:
        try:
            async with asyncio.timeout(self._total_seconds):
                # Not by an httpx.AsyncClient, which would log the URL and keep cookies.
                response = await self._transport.handle_async_request(request)
                async with aclosing(response):
                    body = bytearray()
                    async for part in response.aiter_bytes():
                        body += part
                        if len(body) > self._answer_limit:
                            raise httpx.DecodingError(f"its answer is longer than {self._answer_limit} bytes")
                    return Reply(response.status_code, dict(response.headers), bytes(body))
        except (httpx.RequestError, TimeoutError) as error:
            # What lies behind can quote the server, and the server what it was sent.
            raise Unreachable(f"host {request.url.host} cannot be asked: {reason_of(error)}") from None

    def close(self) -> None:
        """End all exchanges and close the connections."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        exchanges = asyncio.all_tasks() - {asyncio.current_task()}
        for exchange in exchanges:
            exchange.cancel()
        await asyncio.gather(*exchanges, return_exceptions=True)
        await self._transport.aclose()
