import asyncio
import os
import socket
import ssl
import sys
import zlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpcore
import httpx
import pytest

from monitor.errors import DeliveryError, PermanentFailure, TransientFailure, UnknownOutcome
from monitor.net import CONNECTIONS, REPLY_LIMIT, AddressRefused, GuardedClient, GuardedTransport, Reply, is_public
from tests.receivers import Answer, WebhookReceiver

SECRET = "s3cr3t-t0k3n"

# Valid from 2020 to 2120, for the name localhost alone, trusted by nobody.
LOCALHOST = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgiI5ZgjaGpRfPEip5
eGVx7mftgWAa7Yu1ANXqYkvEJ+ChRANCAAS1xT/GiPXwWbTkBH3vgCqC2fSAwVqP
AYorLgW3/O8OtlwcyAZ5kAR7pUXzNDFchVj3ZsL8xkIs20vClBzG/8A0
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBpTCCAUugAwIBAgIUL2KOVUEaLI+qFNqD6RyT/g3tehowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS1xT/GiPXwWbTkBH3vgCqC2fSAwVqPAYorLgW3/O8OtlwcyAZ5kAR7
pUXzNDFchVj3ZsL8xkIs20vClBzG/8A0o3kwdzAUBgNVHREEDTALgglsb2NhbGhv
c3QwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAoQwHQYDVR0OBBYEFKzt
ghJzEN9eb9to84bI1KpO5XuFMB8GA1UdIwQYMBaAFKztghJzEN9eb9to84bI1KpO
5XuFMAoGCCqGSM49BAMCA0gAMEUCIFjFwIDcs06yq2k1DsUanvgYvez9lsBKvFai
NS70maWhAiEAt4fgeghEiLRxQdClJcCa5zr0YomSxfPE3DfeABDhM6M=
-----END CERTIFICATE-----
"""

# What httpcore's pool answers itself, by trying another connection.
INTERNAL = {httpcore.ConnectionNotAvailable}
HTTPCORE_ERRORS = [
    thing
    for thing in vars(httpcore).values()
    if isinstance(thing, type) and issubclass(thing, Exception) and thing not in INTERNAL
]

NOT_PUBLIC = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.1.1", "198.18.0.1",
    "203.0.113.5", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1",
    "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b::808:808",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "2002:808:808::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "feff::1", "ff02::1", "ff0e::1",
]  # fmt: skip
PRIVATE_HOSTS = [
    "127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "127.1", "0", "[::1]",
    "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]", "169.254.169.254", "0xa9fea9fe", "2852039166", "[fec0::1]", "100.100.100.200",
    "localhost", "LOCALHOST",
]  # fmt: skip


def exchange(client: GuardedClient, *urls: str) -> list[Reply]:
    """Post to each URL, one after the other, and not for ever."""

    async def run() -> list[Reply]:
        try:
            async with asyncio.timeout(10):
                return [await client.post(url, b'{"a":1}', {"webhook-id": "m1"}) for url in urls]
        finally:
            await client.aclose()

    return asyncio.run(run())


def get(url: str, transport: GuardedTransport) -> httpx.Response:
    """Get as a client of httpx does."""

    async def run() -> httpx.Response:
        async with asyncio.timeout(10), httpx.AsyncClient(transport=transport, trust_env=False) as client:
            return await client.get(url)

    return asyncio.run(run())


def bomb(mebibytes: int) -> bytes:
    """So many mebibytes of zeros, as gzip packs them."""
    packer = zlib.compressobj(wbits=31)
    first, other = (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + other * (mebibytes - 1)  # after a full flush, all others are alike


def answering(*addresses: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def silent_when_full() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return sys.platform == "linux"


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    pem = tmp_path / "localhost.pem"
    pem.write_text(LOCALHOST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_the_bytes_and_headers_given_are_what_arrives() -> None:
    with WebhookReceiver(Answer(201, {"X-Two": "b"}, b"thanks")) as receiver:
        [reply] = exchange(GuardedClient(allow_private=True), receiver.url + "?q=1")
    [request] = receiver.received
    assert (request.path, request.body, request.id) == ("/hook?q=1", b'{"a":1}', "m1")
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert reply == Reply(201, {"x-two": "b", "content-length": "6"}, b"thanks")


def test_a_url_arrives_as_it_was_written() -> None:
    target = "/-._~!$&'()*+,;=:@[]%2F%7b//hook?-._~!$&'()*+,;=:@[]/?%2F%7b"
    with WebhookReceiver() as receiver:
        exchange(GuardedClient(allow_private=True), f"http://127.0.0.1:{receiver.port}{target}#not-sent")
    assert receiver.received[0].path == target


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    with WebhookReceiver() as receiver:
        exchange(GuardedClient(allow_private=True), receiver.url)
    assert set(receiver.received[0].headers) == {"host", "content-length", "webhook-id"}


def test_a_cookie_is_not_sent_back() -> None:
    with WebhookReceiver(Answer(headers={"Set-Cookie": "a=b; Path=/"})) as receiver:
        first, _ = exchange(GuardedClient(allow_private=True), receiver.url, receiver.url)
    assert first.headers["set-cookie"] == "a=b; Path=/"
    assert "cookie" not in receiver.received[1].headers


def test_one_connection_serves_one_exchange_after_the_other() -> None:
    with WebhookReceiver() as receiver:
        exchange(GuardedClient(allow_private=True), *[receiver.url] * 20)
    assert {request.connection for request in receiver.received} == {0}


def test_no_more_than_ten_connections_are_open_however_many_messages_wait() -> None:
    async def run(url: str) -> None:
        client = GuardedClient(allow_private=True)
        await asyncio.gather(*(client.post(url, b"{}", {}) for _ in range(30)))
        await client.aclose()

    with WebhookReceiver(then=Answer(delay=0.02)) as receiver:
        asyncio.run(run(receiver.url))
    assert len({request.connection for request in receiver.received}) == CONNECTIONS == 10
    assert len(receiver.received) == 30


def test_redirects_are_not_followed() -> None:
    with WebhookReceiver() as elsewhere, WebhookReceiver(Answer(307, {"Location": elsewhere.url})) as receiver:
        [reply] = exchange(GuardedClient(allow_private=True), receiver.url)
    assert reply.status_code == 307
    assert elsewhere.received == []


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebhookReceiver() as proxy, WebhookReceiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        exchange(GuardedClient(allow_private=True), receiver.url)
    assert len(receiver.received) == 1
    assert proxy.received == []


def test_a_reply_is_read_no_further_than_its_bound() -> None:
    # Reading on would meet the broken end, and lose the body with it.
    broken = Answer(raw=b"HTTP/1.1 200 -\r\ncontent-length: 3000000\r\n\r\n" + b"x" * 1_000_000)
    with WebhookReceiver(broken, Answer(body=b"y")) as receiver:
        long, short = exchange(GuardedClient(allow_private=True), receiver.url, receiver.url)
    assert long.body == b"x" * REPLY_LIMIT
    assert short.body == b"y"


def test_a_compressed_reply_is_not_unpacked() -> None:
    packed = bomb(300)
    with WebhookReceiver(Answer(headers={"Content-Encoding": "gzip"}, body=packed)) as receiver:
        [reply] = exchange(GuardedClient(allow_private=True), receiver.url)
    assert reply.body == packed[:REPLY_LIMIT]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_of_the_public_internet_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_an_address_of_the_public_internet_is_not_refused(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_no_spelling_of_a_private_host_is_connected_to(host: str) -> None:
    with WebhookReceiver() as receiver, pytest.raises(PermanentFailure, match=r"`allow_private = true`"):
        exchange(GuardedClient(), f"http://{host}:{receiver.port}/{SECRET}")
    assert receiver.received == []


def test_a_name_that_means_private_addresses_alone_is_refused() -> None:
    client = GuardedClient(resolve=answering("10.0.0.1", "127.0.0.1", "::1"))
    with WebhookReceiver() as receiver, pytest.raises(PermanentFailure, match=r"inside\.example is at 10\.0\.0\.1"):
        exchange(client, f"http://inside.example:{receiver.port}/{SECRET}")
    assert receiver.received == []


def test_the_connection_goes_to_the_address_that_was_checked_and_the_name_is_not_asked_for_again() -> None:
    asked = []

    async def once(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    with WebhookReceiver() as receiver:
        exchange(GuardedClient(allow_private=True, resolve=once), f"http://nowhere.invalid:{receiver.port}/")
    assert asked == [("nowhere.invalid", receiver.port)]
    assert receiver.received[0].headers["host"] == f"nowhere.invalid:{receiver.port}"


def test_a_second_address_is_tried_where_the_first_does_not_answer() -> None:
    with WebhookReceiver() as receiver:
        client = GuardedClient(allow_private=True, resolve=answering("::1", "127.0.0.1"))
        [reply] = exchange(client, f"http://two.example:{receiver.port}/")
    assert reply.status_code == 200


@pytest.mark.skipif(not silent_when_full(), reason="needs IPv6, and a full backlog that answers nothing as on Linux")
def test_a_first_address_that_swallows_packets_leaves_time_for_the_second() -> None:
    with WebhookReceiver() as receiver, ExitStack() as sockets:
        full = sockets.enter_context(socket.create_server(("::1", receiver.port), family=socket.AF_INET6, backlog=0))
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket(socket.AF_INET6))
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        client = GuardedClient(allow_private=True, connect_seconds=2, resolve=answering("::1", "127.0.0.1"))
        [reply] = exchange(client, f"http://two.example:{receiver.port}/")
    assert reply.status_code == 200


def test_a_host_that_is_an_ipv6_address_is_named_in_brackets() -> None:
    with WebhookReceiver() as receiver:
        client = GuardedClient(allow_private=True, resolve=answering("127.0.0.1"))
        exchange(client, f"http://[2606:4700::1111]:{receiver.port}/")
    assert receiver.received[0].headers["host"] == f"[2606:4700::1111]:{receiver.port}"


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://host/{SECRET}",
        f"/{SECRET}",
        f"http:///{SECRET}",
        f"http://{SECRET}@host/",
        f"http://user:{SECRET}@host/",
        f"http://host:{SECRET}/",
        f"http://host:99999/{SECRET}",
        f"http://[::1/{SECRET}",
        f"http://[fe80::1%25eth0]/{SECRET}",
        f"http://host\\@evil/{SECRET}",
        f"http://host\\evil/{SECRET}",
        f"http://ho st/{SECRET}",
        f"http://host/{SECRET}\r\nX: y",
        f"http://höst/{SECRET}",
        f"http://127。0。0。1/{SECRET}",
        f"http://{'a' * 64}.example/{SECRET}",
        f"http://host..example/{SECRET}",
        f"http://1..2/{SECRET}",
        f"http://0177.0.0.1/{SECRET}",
        f"http://@host/{SECRET}",
        f"http://host:8_0/{SECRET}",
        f"http://host/{SECRET}|",
        f"http://host/{SECRET}%zz",
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(PermanentFailure) as refusal:
        exchange(GuardedClient(allow_private=True), url)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("foreign", HTTPCORE_ERRORS)
def test_every_error_of_httpcore_becomes_one_of_ours(foreign: type[Exception]) -> None:
    async def failing(host: str, port: int) -> Sequence[str]:
        raise foreign

    permanent = issubclass(foreign, httpcore.LocalProtocolError | httpcore.UnsupportedProtocol)
    with pytest.raises(DeliveryError) as failure:
        exchange(GuardedClient(resolve=failing), f"http://host.example/{SECRET}")
    assert type(failure.value) is (PermanentFailure if permanent else TransientFailure)
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize("foreign", HTTPCORE_ERRORS)
def test_a_client_of_httpx_meets_every_error_of_httpcore_as_its_own(foreign: type[Exception]) -> None:
    async def failing(host: str, port: int) -> Sequence[str]:
        raise foreign

    with pytest.raises(httpx.TransportError) as failure:
        get("http://host.example/", GuardedTransport(resolve=failing))
    assert type(failure.value).__name__ == foreign.__name__


def test_a_client_of_httpx_reads_a_reply_to_its_end() -> None:
    answer = Answer(headers={"Content-Encoding": "gzip"}, body=bomb(1))
    with WebhookReceiver(answer) as receiver:
        response = get(receiver.url, GuardedTransport(allow_private=True))
    assert (response.status_code, response.content) == (200, bytes(1 << 20))


def test_a_client_of_httpx_meets_a_body_that_is_cut_short_as_its_own_error() -> None:
    broken = Answer(raw=b"HTTP/1.1 200 -\r\ncontent-length: 100\r\n\r\nhalf")
    with WebhookReceiver(broken) as receiver, pytest.raises(httpx.RemoteProtocolError):
        get(receiver.url, GuardedTransport(allow_private=True))


def test_a_client_of_httpx_is_refused_a_private_address() -> None:
    with WebhookReceiver() as receiver, pytest.raises(AddressRefused, match=r"host 127\.0\.0\.1 is at 127\.0\.0\.1"):
        get(receiver.url, GuardedTransport())
    assert receiver.received == []


def test_the_list_of_httpcore_errors_is_not_empty() -> None:
    assert {httpcore.ConnectError, httpcore.ReadTimeout, httpcore.RemoteProtocolError} < set(HTTPCORE_ERRORS)


def test_a_name_that_cannot_be_resolved_is_transient() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(TransientFailure, match=r"no connection to host gone\.example: its name cannot be resolved"):
        exchange(GuardedClient(resolve=unknown), f"https://gone.example/{SECRET}")


def test_a_name_without_an_address_is_transient() -> None:
    with pytest.raises(TransientFailure, match="no address"):
        exchange(GuardedClient(resolve=answering()), "https://empty.example/")


def test_a_refused_connection_is_transient_and_names_the_host_alone() -> None:
    with pytest.raises(TransientFailure) as failure:
        exchange(GuardedClient(allow_private=True), f"http://127.0.0.1:{closed_port()}/{SECRET}?{SECRET}")
    assert failure.value.message.startswith("no connection to host 127.0.0.1: ")
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize("limits", [{"connect_seconds": 0.05, "total_seconds": 60}, {"total_seconds": 0.05}])
def test_a_connection_that_takes_too_long_is_transient(limits: dict[str, float]) -> None:
    async def hanging(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(TransientFailure, match="took too long"):
        exchange(GuardedClient(resolve=hanging, **limits), "https://slow.example/")


def test_a_handshake_that_takes_too_long_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = GuardedClient(allow_private=True, connect_seconds=0.05)
        with pytest.raises(TransientFailure, match="took too long"):
            exchange(client, f"https://127.0.0.1:{silent.getsockname()[1]}/")


def test_a_server_that_speaks_no_tls_is_transient() -> None:
    with WebhookReceiver() as receiver, pytest.raises(TransientFailure, match="no connection"):
        exchange(GuardedClient(allow_private=True, connect_seconds=0.2), f"https://127.0.0.1:{receiver.port}/")
    assert receiver.received == []


def test_a_certificate_that_nobody_trusts_is_permanent(tls: ssl.SSLContext) -> None:
    client = GuardedClient(allow_private=True, resolve=answering("127.0.0.1"))
    with WebhookReceiver(tls=tls) as receiver, pytest.raises(PermanentFailure, match="certificate of host localhost"):
        exchange(client, f"https://localhost:{receiver.port}/{SECRET}")
    assert receiver.received == []


def test_an_authority_named_in_the_environment_is_trusted(
    tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.pem"))
    client = GuardedClient(allow_private=True, resolve=answering("127.0.0.1"))
    with WebhookReceiver(tls=tls) as receiver:
        [reply] = exchange(client, f"https://localhost:{receiver.port}/")
    assert reply.status_code == 200


def test_a_certificate_for_another_name_is_permanent(
    tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.pem"))
    client = GuardedClient(allow_private=True, resolve=answering("127.0.0.1"))
    with WebhookReceiver(tls=tls) as receiver, pytest.raises(PermanentFailure, match=r"other\.example"):
        exchange(client, f"https://other.example:{receiver.port}/")
    assert receiver.received == []


def test_tls_that_breaks_after_sending_leaves_the_outcome_unknown(
    tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off() -> None:
        with tls.wrap_socket(server.accept()[0], server_side=True) as connection:
            connection.recv(REPLY_LIMIT)
            os.write(connection.fileno(), b"HTTP/1.1 200 -\r\n\r\n")  # past the encryption
            connection.recv(1)

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.pem"))
    client = GuardedClient(allow_private=True, resolve=answering("127.0.0.1"))
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as threads:
        server.settimeout(5)
        threads.submit(break_off)
        with pytest.raises(UnknownOutcome, match=r"host localhost broke after sending began: \[SSL"):
            exchange(client, f"https://localhost:{server.getsockname()[1]}/{SECRET}")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(drop=True),
        Answer(delay=60),
        Answer(drip=0.05),
        Answer(raw=b"HTTP/1.1 200"),
        Answer(raw=f"SSH-2.0 {SECRET}\r\n\r\n".encode()),
        Answer(raw=b"HTTP/1.1 103 -\r\n\r\n"),
        Answer(raw=b"HTTP/1.1 200 -\r\nX: " + b"x" * 200_000),
    ],
    ids=["hangs up", "never answers", "drips", "cut short", "not HTTP", "interim alone", "endless header"],
)
def test_an_exchange_that_breaks_after_sending_leaves_the_outcome_unknown(answer: Answer) -> None:
    with WebhookReceiver(answer) as receiver, pytest.raises(UnknownOutcome) as failure:
        exchange(GuardedClient(allow_private=True, total_seconds=1), f"{receiver.url}/{SECRET}")
    assert len(receiver.received) == 1
    assert failure.value.message.startswith("the exchange with host 127.0.0.1 broke after sending began: ")
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(raw=b"HTTP/1.1 202 -\r\ncontent-length: 100\r\n\r\nhalf"),
        Answer(raw=b"HTTP/1.1 202 -\r\n\r\n" + b"x" * 1000, drip=0.002),
    ],
    ids=["body cut short", "body drips"],
)
def test_a_status_counts_however_its_body_ends(answer: Answer) -> None:
    with WebhookReceiver(answer) as receiver:
        [reply] = exchange(GuardedClient(allow_private=True, total_seconds=1), receiver.url)
    assert reply.status_code == 202


def test_exchanges_that_were_cut_off_use_up_no_connections() -> None:
    async def run(receiver: WebhookReceiver) -> Reply:
        client = GuardedClient(allow_private=True)
        stuck = [asyncio.create_task(client.post(receiver.url, b"{}", {})) for _ in range(CONNECTIONS)]
        await asyncio.to_thread(receiver.wait_for, CONNECTIONS)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        reply = await client.post(receiver.url, b"{}", {})
        await client.aclose()
        return reply

    with WebhookReceiver(*[Answer(delay=60)] * CONNECTIONS) as receiver:
        assert asyncio.run(run(receiver)).status_code == 200


def test_the_url_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with WebhookReceiver() as receiver:
        exchange(GuardedClient(allow_private=True), f"{receiver.url}/{SECRET}?{SECRET}")
    assert "send_request_headers" in caplog.text
    assert SECRET not in caplog.text


def test_closing_twice_is_closing_once() -> None:
    async def run(url: str) -> None:
        client = GuardedClient(allow_private=True)
        await client.post(url, b"{}", {})
        await client.aclose()
        await client.aclose()

    with WebhookReceiver() as receiver:
        asyncio.run(run(receiver.url))
