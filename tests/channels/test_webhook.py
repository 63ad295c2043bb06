import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from monitor.channels.body import seal
from monitor.channels.webhook import Webhook, WebhookSettings, retry_after
from monitor.core.events import Event, EventKind
from monitor.errors import ConfigError, DeliveryError, PermanentFailure, TransientFailure, UnknownOutcome
from monitor.ports import Message
from monitor.render.messages import Notice, compose
from tests.receivers import Answer, Received, WebhookReceiver

NOW = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)
MESSAGE = Message("20261120T0000-abc", "warning", "AAPL 1d turned bullish", ("one", "two"), ({"key": "k"},))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "hook5-s3cr3t-t0k3n"  # begins like another part of the URL
TRANSIENT = {408, 425, 429, 500, 502, 503, 504, 507, 520, 521, 522, 523, 524, 525, 526, 527, 528, 529}
DOCUMENT = Path(__file__).parents[2] / "docs" / "webhook.md"


def webhook(url: str, **settings: Any) -> Webhook:
    return Webhook("hook", WebhookSettings(url=url, allow_private=True, **settings))


def deliver(channel: Webhook, message_id: str = MESSAGE.id, payload: bytes = b"{}", now: datetime = NOW) -> str:
    async def run() -> str:
        try:
            return await channel.deliver(message_id, payload, now)
        finally:
            await channel.aclose()

    return asyncio.run(run())


def told(answer: Answer, path: str = "") -> DeliveryError:
    """The failure that an answer becomes."""
    with WebhookReceiver(answer) as receiver, pytest.raises(DeliveryError) as failure:
        deliver(webhook(receiver.url + path, secret=SECRET))
    return failure.value


def received(**settings: Any) -> Received:
    with WebhookReceiver() as receiver:
        channel = webhook(receiver.url, **settings)
        deliver(channel, payload=channel.seal(MESSAGE))
    return receiver.received[0]


def block(language: str) -> str:
    """The first block of that language in the document for receivers."""
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def test_the_body_is_the_documented_one() -> None:
    assert json.loads(received().body) == {
        "version": 1,
        "id": "20261120T0000-abc",
        "severity": "warning",
        "title": "AAPL 1d turned bullish",
        "text": "one\ntwo",
        "events": [{"key": "k"}],
    }
    assert list(json.loads(received().body)) == list(json.loads(block("json")))


def test_the_documented_example_is_what_a_message_becomes() -> None:
    example = json.loads(block("json"))
    [event] = example["events"]
    fact = Event(
        check_digest=event["check_digest"],
        symbol="AAPL",
        timeframe="1d",
        ts=datetime(2026, 11, 20, tzinfo=UTC),
        closed_at=datetime(2026, 11, 20, 21, tzinfo=UTC),
        kind=EventKind.TREND_STARTED,
        bar=event["bar"],
        evidence=event["evidence"],
    )
    notice = Notice(fact, "trend", ("us-tech",), "warning", NOW, "files", event["config_digest"])
    assert json.loads(seal(compose(example["id"], [notice], NOW))) == example


def test_the_headers_name_the_message_and_the_program() -> None:
    headers = received().headers
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == headers["idempotency-key"] == "20261120T0000-abc"
    assert headers["webhook-timestamp"] == "1795210200"  # date -ud '2026-11-20 21:30' +%s
    assert headers["user-agent"] == f"barwatch/{version('barwatch')}"
    assert "webhook-signature" not in headers


def test_the_signature_is_that_of_the_published_example() -> None:
    with WebhookReceiver() as receiver:
        channel = webhook(receiver.url, secret=SECRET)
        now = datetime(2021, 2, 25, 15, 2, 10, tzinfo=UTC)
        deliver(channel, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', now)
    headers = receiver.received[0].headers
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_time_in_another_zone_is_signed_as_the_same_instant() -> None:
    with WebhookReceiver() as receiver:
        deliver(webhook(receiver.url, secret=SECRET), now=NOW)
        deliver(webhook(receiver.url, secret=SECRET), now=NOW.astimezone(timezone(timedelta(hours=9))))
    first, second = receiver.received
    assert first.headers["webhook-signature"] == second.headers["webhook-signature"]


def test_the_very_bytes_that_are_sent_are_signed() -> None:
    request = received(secret=SECRET)
    signed = f"{request.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_the_documented_check_accepts_what_is_sent_and_nothing_else() -> None:
    names: dict[str, Callable[..., bool]] = {}
    exec(block("python"), names)
    request = received(secret=SECRET)
    assert names["is_genuine"](SECRET, request.headers, request.body)
    assert not names["is_genuine"](SECRET, request.headers, request.body + b" ")


def test_every_http_status_has_the_outcome_of_its_class() -> None:
    async def outcomes(channel: Webhook) -> dict[int, str]:
        found = {}
        for status in range(100, 600):
            try:
                found[status] = await channel.deliver(MESSAGE.id, b"{}", NOW)
            except DeliveryError as failure:
                found[status] = type(failure).__name__
        await channel.aclose()
        return found

    with WebhookReceiver(*(Answer(status) for status in range(100, 600))) as receiver:
        found = asyncio.run(outcomes(webhook(receiver.url)))
    assert {status for status, outcome in found.items() if outcome == "UnknownOutcome"} == set(range(100, 200))
    assert {status for status, outcome in found.items() if outcome == f"HTTP {status}"} == set(range(200, 300))
    assert {status for status, outcome in found.items() if outcome == "TransientFailure"} == TRANSIENT
    assert {status for status, outcome in found.items() if outcome == "PermanentFailure"} == (
        set(range(300, 600)) - TRANSIENT
    )
    assert len(receiver.received) == 500


def test_an_interim_answer_is_not_the_answer() -> None:
    raw = b"HTTP/1.1 103 -\r\n\r\nHTTP/1.1 204 -\r\n\r\n"
    with WebhookReceiver(Answer(raw=raw)) as receiver:
        assert deliver(webhook(receiver.url)) == "HTTP 204"


def test_a_failure_names_status_host_and_what_the_receiver_said() -> None:
    failure = told(Answer(503, body=b"back at\r\n\x1b[2J noon"))
    assert failure.message == "HTTP 503 from host 127.0.0.1: back at [2J noon"


def test_an_empty_answer_is_told_without_an_excerpt() -> None:
    assert told(Answer(404)).message == "HTTP 404 from host 127.0.0.1"


def test_no_more_than_200_characters_of_an_answer_are_told() -> None:
    excerpt = told(Answer(500, body="ä".encode() * 30_000)).message.partition(": ")[2]
    assert excerpt == "ä" * 200


@pytest.mark.parametrize(
    "echo",
    [
        f"no such path /hook/{TOKEN}/x",
        f"https:\\/\\/127.0.0.1\\/hook\\/{TOKEN}?key=q%2Fsecret",
        "key is q/secret",
        f"{'x' * 195}{TOKEN}",
        f"signed with {SECRET}",
        f"signed with {SECRET.removeprefix('whsec_')}",
    ],
)
def test_an_answer_cannot_put_the_url_or_the_secret_into_the_log(echo: str) -> None:
    message = told(Answer(500, body=echo.encode()), f"/{TOKEN}?key=q%2Fsecret").message
    assert "[re" in message
    for secret in ("s3cr3", "secret", SECRET[6:12]):
        assert secret not in message


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", timedelta(0)),
        ("120", timedelta(minutes=2)),
        ("3600", timedelta(hours=1)),
        ("3601", timedelta(hours=1)),
        ("9" * 30, timedelta(hours=1)),
        ("Fri, 20 Nov 2026 21:45:00 GMT", timedelta(minutes=15)),
        ("Fri, 20 Nov 2026 22:45:00 +0100", timedelta(minutes=15)),
        ("Friday, 20-Nov-26 21:45:00 GMT", timedelta(minutes=15)),
        ("Fri Nov 20 21:45:00 2026", timedelta(minutes=15)),
        ("Sat, 21 Nov 2026 21:45:00 GMT", timedelta(hours=1)),
        ("Fri, 20 Nov 2026 21:29:59 GMT", None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("Fri, 99 Nov 2026 21:45:00 GMT", None),
        ("Fri, 20 Nov 99999999999 21:45:00 GMT", None),
        ("9" * 5000, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(value: str, wait: timedelta | None) -> None:
    assert retry_after(value, NOW) == wait


def test_a_transient_answer_carries_the_wait_it_asks_for() -> None:
    failure = told(Answer(429, {"Retry-After": "30"}))
    assert isinstance(failure, TransientFailure)
    assert failure.retry_after == timedelta(seconds=30)


def test_a_private_receiver_must_be_permitted() -> None:
    channel = Webhook("hook", WebhookSettings(url=f"http://127.0.0.1:9/{TOKEN}"))
    with pytest.raises(PermanentFailure, match=r"`allow_private = true`"):
        deliver(channel)


def test_an_answer_that_never_comes_is_an_unknown_outcome() -> None:
    assert isinstance(told(Answer(drop=True)), UnknownOutcome)


def test_url_and_secret_may_stand_in_files(tmp_path: Path) -> None:
    with WebhookReceiver() as receiver:
        (tmp_path / "url").write_text(receiver.url + "\n")
        (tmp_path / "secret").write_text(SECRET + "\n")
        settings = WebhookSettings(url_file=tmp_path / "url", secret_file=tmp_path / "secret", allow_private=True)
        deliver(Webhook("hook", settings))
    assert "webhook-signature" in receiver.received[0].headers


def test_a_file_that_is_not_there_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"channel hook: .*/url cannot be read: No such file or directory"):
        Webhook("hook", WebhookSettings(url_file=tmp_path / "url"))


@pytest.mark.parametrize(("key", "text"), [("url_file", f"ftp://host/{TOKEN}"), ("secret_file", f"whsec_{TOKEN}")])
def test_a_file_with_something_else_in_it_is_refused_without_repeating_it(key: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    given = {"url": "https://host/"} if key == "secret_file" else {}
    with pytest.raises(ConfigError, match="channel hook") as refusal:
        Webhook("hook", WebhookSettings(**given, **{key: tmp_path / "file"}))
    assert TOKEN not in str(refusal.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"url": f"https://host/{TOKEN}", "url_file": "f"},
        {"url": f"https://host/{TOKEN}", "secret": SECRET, "secret_file": "f"},
        {"url": f"ftp://host/{TOKEN}"},
        {"url": f"https://{TOKEN}@host/"},
        {"url": f"https://host/{TOKEN}", "secret": TOKEN},
        {"url": f"https://host/{TOKEN}", "secret": "whsec_c2hvcnQ="},
        {"url": f"https://host/{TOKEN}", "secret": "whsec_" + "!" * 40},
        {"url": f"https://host/{TOKEN}", "secret": f"{SECRET}!"},
        {"url": f"https://host/{TOKEN}", "secret": SECRET.removeprefix("whsec_")},
        {"url": f"https://host/{TOKEN}", "retries": 3},
    ],
)
def test_settings_that_make_no_sense_are_refused_without_repeating_a_secret(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        WebhookSettings(**settings)
    assert TOKEN not in str(refusal.value)
    assert all(TOKEN not in mistake["msg"] for mistake in refusal.value.errors())


def test_a_secret_is_in_no_representation() -> None:
    settings = WebhookSettings(url=f"https://host/{TOKEN}", secret=SECRET)
    shown = f"{settings!r} {settings} {Webhook('hook', settings)!r} {settings.model_dump_json()}"
    assert TOKEN not in shown
    assert SECRET[6:] not in shown
