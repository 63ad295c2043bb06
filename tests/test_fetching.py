import asyncio
import gzip
import logging
import ssl
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import trustme

from monitor.errors import Unreachable
from monitor.fetching import MarketClient
from tests.receivers import Answer, WebhookReceiver
from tests.test_net import closed_port

CANARY = "c4n4ry"
LIMIT = 100_000


@pytest.fixture
def client():
    with closing(MarketClient(total_seconds=5, answer_limit=LIMIT)) as opened:
        yield opened


def get(client, receiver, params=None, headers=None):
    return client.get(receiver.url, params or {}, headers or {})


def test_a_reply_is_given_whole_whatever_its_status(client, receiver):
    receiver.answer(Answer(404, {"X-Left": "3"}, b"x" * 90_000))
    reply = get(client, receiver, {"symbol": "EUR/USD", "from": "2025-11-26 20:30"}, {"X-Key": CANARY})
    assert (reply.status_code, reply.headers["x-left"], reply.body) == (404, "3", b"x" * 90_000)
    [asked] = receiver.received
    assert asked.path == "/hook?symbol=EUR%2FUSD&from=2025-11-26+20%3A30"
    assert asked.headers["x-key"] == CANARY


def test_a_packed_reply_is_unpacked(client, receiver):
    receiver.answer(Answer(200, {"Content-Encoding": "gzip"}, gzip.compress(b'{"a": 1}')))
    assert get(client, receiver).body == b'{"a": 1}'
    assert receiver.received[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(body=b"x" * (LIMIT + 1)), id="long"),
        pytest.param(
            Answer(200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(LIMIT + 1))), id="long when unpacked"
        ),
        pytest.param(Answer(200, {"Content-Encoding": "gzip"}, b"no gzip"), id="not packed"),
        pytest.param(Answer(raw=b"HTTP/1.1 200 -\r\ncontent-length: 9\r\n\r\nhalf"), id="cut short"),
        pytest.param(Answer(raw=b"SSH-2.0-OpenSSH\r\n\r\n"), id="no HTTP"),
        pytest.param(Answer(drop=True), id="hung up"),
    ],
)
def test_a_reply_that_is_not_whole_or_too_long_is_none(client, receiver, answer):
    receiver.answer(answer)
    with pytest.raises(Unreachable, match=r"host 127\.0\.0\.1 cannot be asked: "):
        get(client, receiver)


@pytest.mark.parametrize("answer", [Answer(delay=9), Answer(drip=0.02, body=b"x" * 999), Answer(drip=0.02)])
def test_an_exchange_has_a_time_however_slowly_it_goes_on(receiver, answer):
    receiver.answer(answer)
    with closing(MarketClient(total_seconds=0.2)) as client, pytest.raises(Unreachable, match="it took too long"):
        get(client, receiver)


def test_nobody_listening_is_told_with_the_host(client):
    with pytest.raises(Unreachable, match=r"host localhost cannot be asked: "):
        client.get(f"http://localhost:{closed_port()}/", {}, {})


def test_redirects_are_not_followed_and_cookies_not_kept(client, receiver):
    receiver.answer(Answer(302, {"Location": receiver.url, "Set-Cookie": "a=b"}))
    assert get(client, receiver).status_code == 302
    get(client, receiver)
    assert len(receiver.received) == 2
    assert "cookie" not in receiver.received[1].headers


def test_the_environment_names_no_proxy(receiver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    with closing(MarketClient()) as client:
        assert get(client, receiver).status_code == 200


def test_a_connection_is_used_again(client, receiver):
    for _ in range(3):
        get(client, receiver)
    assert {asked.connection for asked in receiver.received} == {0}


@pytest.mark.parametrize("answer", [Answer(200), Answer(drop=True), Answer(delay=9)])
def test_neither_the_query_nor_a_header_stands_in_a_log_or_an_error(receiver, answer, caplog):
    caplog.set_level(logging.DEBUG)
    receiver.answer(answer)
    told = ""
    with closing(MarketClient(total_seconds=0.5)) as client:
        try:
            get(client, receiver, {"apikey": CANARY}, {"authorization": CANARY})
        except Unreachable as failure:
            told = "".join(traceback.format_exception(failure))
    assert CANARY not in told + caplog.text


def test_what_a_server_sends_in_place_of_http_stands_in_no_error(client, receiver):
    receiver.answer(Answer(raw=f"{CANARY}\r\n\r\n".encode()))
    with pytest.raises(Unreachable) as failed:
        get(client, receiver)
    assert CANARY not in "".join(traceback.format_exception(failed.value))


def test_threads_may_get_at_the_same_time(client, receiver):
    receiver.answer(*[Answer(delay=0.1)] * 4)
    with ThreadPoolExecutor(4) as threads:
        replies = [*threads.map(lambda _: get(client, receiver), range(4))]
    assert [reply.status_code for reply in replies] == [200] * 4
    assert len({asked.connection for asked in receiver.received}) == 4


def test_it_may_be_used_and_closed_where_a_loop_is_running(receiver):
    async def run():
        with closing(MarketClient()) as client:
            return get(client, receiver).status_code

    assert asyncio.run(run()) == 200


def test_closing_ends_an_exchange_at_once(receiver):
    receiver.answer(Answer(delay=60))
    client = MarketClient()
    ended = []

    def ask():
        with pytest.raises(Unreachable, match="the client was closed"):
            get(client, receiver)
        ended.append(True)

    asking = threading.Thread(target=ask)
    asking.start()
    receiver.wait_for(1)
    client.close()
    asking.join(5)
    assert ended == [True]


def test_once_closed_it_gets_nothing(receiver):
    client = MarketClient()
    client.close()
    client.close()
    with pytest.raises(Unreachable, match=r"host 127\.0\.0\.1 is not asked any more"):
        get(client, receiver)
    assert receiver.received == []


def test_a_server_that_nobody_vouches_for_is_not_asked():
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with WebhookReceiver(tls=context) as receiver, closing(MarketClient()) as client:
        with pytest.raises(Unreachable, match="certificate verify failed"):
            get(client, receiver)
        assert receiver.received == []
