"""The guarded HTTP client, the one place that speaks HTTP.

*Guarded*: the name is resolved here and the connection goes to the very address that was checked; an exchange has a
total time-out and a reply a bound; redirects are not followed, cookies not kept, the environment (proxies, netrc) not
asked. An address that is not of the public internet is *refused*. *Sending began* when the first byte of the request
may have left: a failure before it is transient, one after it leaves the outcome unknown. Errors name the host and no
more of the URL, which may be a secret.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from monitor.errors import DeliveryError, PermanentFailure, TransientFailure, UnknownOutcome

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 20.0
REPLY_LIMIT = 64 * 1024
CONNECTIONS = 10
# Shorter than the 2 s and 5 s after which common servers hang up: a request into that gap would end unknown.
IDLE_SECONDS = 1.0

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
_Stream = httpcore.AsyncNetworkStream

_FOREIGN = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,  # faults of TLS come through as they are
)
# What may stand in a URL (RFC 3986): httpx would write anything else in another way than the one that it was given in.
_WRITTEN = re.compile(r"([]A-Za-z0-9._~:/?#[@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?|[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*")  # no IPv6 zone
_GLOBAL_UNICAST = ip_network("2000::/3")
# What `is_global` lets pass: 6to4 carries IPv4 addresses, the others hold the metadata services of two clouds.
_NOT_PUBLIC = tuple(ip_network(text) for text in ("2002::/16", "192.0.0.0/24", "168.63.129.16/32"))


@dataclass(frozen=True)
class Reply:
    """What a server answered; header names in lower case, the body cut at `REPLY_LIMIT`."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


class AddressRefused(httpx.ConnectError):
    """The host has no address that may be connected to."""


def read_url(url: str) -> httpx.URL:
    """A URL that may be posted to.

    Raises: ValueError, telling nothing of the URL but its host.
    """
    if not _WRITTEN.fullmatch(url):
        raise ValueError("the URL has a character that URLs do not have; write the host as xn--…, the path as %XX")
    try:
        parts = urlsplit(url)
        target = httpx.URL(url, port=parts.port)  # httpx would take a port of 99999, or 8_0
    except (ValueError, httpx.InvalidURL):
        raise ValueError("the URL cannot be read; expected https://host[:port]/path") from None
    if target.scheme not in ("http", "https"):
        raise ValueError("the URL must begin with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("the URL must not hold a user name or password")
    if not _HOST.fullmatch(host := target.raw_host.decode()):
        raise ValueError(f"the URL has no usable host, but {host!r}")
    return target


class GuardedTransport(httpx.AsyncBaseTransport):
    """The connections of an httpx client, each to an address of the public internet.

    `allow_private` permits every address; `trust` may be shared. Used in one event loop.
    """

    def __init__(
        self, *, allow_private: bool = False, resolve: Resolve | None = None, trust: ssl.SSLContext | None = None
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust or httpcore.default_ssl_context(),
            max_connections=CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=_CheckedConnections(resolve or _resolve, allow_private=allow_private),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its reply.

        Raises: httpx.TransportError.
        """
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        sent = httpcore.Request(
            request.method, target, headers=request.headers.raw, content=request.stream, extensions=request.extensions
        )
        with _errors_of_httpx():
            reply = await self._pool.handle_async_request(sent)
        return httpx.Response(reply.status, headers=reply.headers, stream=_Body(reply), extensions=reply.extensions)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class GuardedClient:
    """A client for one channel: posts, within bounds, through a `GuardedTransport` of its own."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        connect_seconds: float = CONNECT_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
        resolve: Resolve | None = None,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds
        self._transport = GuardedTransport(allow_private=allow_private, resolve=resolve)

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Reply:
        """Post once and read the reply, whatever its status.

        Raises: TransientFailure, PermanentFailure, UnknownOutcome.
        """
        try:
            target = read_url(url)
        except ValueError as error:
            raise PermanentFailure(str(error)) from None
        reply: Reply | None = None
        sending = False

        async def trace(step: str, _: Mapping[str, Any]) -> None:
            nonlocal sending
            sending = sending or step == "http11.send_request_headers.started"

        extensions = {"timeout": {"connect": self._connect_seconds}, "trace": trace}
        request = httpx.Request("POST", target, headers=headers, content=content, extensions=extensions)
        try:
            async with asyncio.timeout(self._total_seconds):
                # Not by an httpx.AsyncClient, which would log the URL, keep cookies and ask for compressed replies.
                response = await self._transport.handle_async_request(request)
                async with aclosing(response):
                    reply = Reply(response.status_code, dict(response.headers), b"")
                    return replace(reply, body=await anext(response.aiter_raw(REPLY_LIMIT), b""))
        except (httpx.TransportError, TimeoutError) as error:
            if reply is not None:  # the status is the answer, however the rest of it ends
                return reply
            raise _failure(error, target.raw_host.decode(), sending=sending) from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, reply: httpcore.Response) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for part in self._reply.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._reply.aclose()


class _CheckedConnections(httpcore.AsyncNetworkBackend):
    """Resolves a name, and connects to the public ones of its addresses, in turn."""

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        self._resolve = resolve
        self._allow_private = allow_private
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: Any, **__: Any) -> _Stream:  # noqa: ASYNC109 -- the signature is httpcore's
        try:
            async with asyncio.timeout(timeout):
                addresses = self._permitted(host, await self._resolve(host, port))
                return await self._connect(addresses, port, timeout)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError(f"its name cannot be resolved ({error})") from error

    def _permitted(self, host: str, addresses: Sequence[str]) -> Sequence[str]:
        permitted = [address for address in addresses if self._allow_private or is_public(address)]
        if addresses and not permitted:
            raise AddressRefused(f"host {host} is at {addresses[0]}, which is not an address of the public internet")
        return permitted

    async def _connect(self, addresses: Sequence[str], port: int, seconds: float | None) -> _Stream:
        failure: Exception = httpcore.ConnectError("its name has no address")
        for address in addresses:
            try:
                # A share of the time each, so that one that swallows packets does not use up all of it.
                return await self._plain.connect_tcp(address, port, seconds and seconds / len(addresses))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_public(address: str) -> bool:
    """Whether an address is one that the public internet routes to a single machine."""
    ip = ip_address(address)
    if ip.version == 6 and ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC)


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    try:
        yield
    except _FOREIGN as error:
        raise getattr(httpx, type(error).__name__, httpx.NetworkError)(str(error)) from error


def _failure(error: Exception, host: str, *, sending: bool) -> DeliveryError:
    if isinstance(error, AddressRefused):
        return PermanentFailure(f"{error}; `allow_private = true` on the channel permits it")
    cause = next(iter(error.__cause__.args), None) if error.__cause__ else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return PermanentFailure(
            f"the certificate of host {host} is not to be trusted: {cause.verify_message}",
            "for an authority of your own, name its certificate in the environment variable SSL_CERT_FILE",
        )
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return PermanentFailure(f"the request to host {host} cannot be sent: it breaks the rules of HTTP")
    reason = reason_of(error)
    if sending:
        return UnknownOutcome(f"the exchange with host {host} broke after sending began: {reason}")
    return TransientFailure(f"no connection to host {host}: {reason}")


def reason_of(error: Exception) -> str:
    """Why an exchange failed, in words that hold nothing of what was sent."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "it took too long"
    if isinstance(error, httpx.RemoteProtocolError):  # its text can hold what the server sent
        return "it hung up, or what it sent is not HTTP"
    return str(error) or type(error).__name__
