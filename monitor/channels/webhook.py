"""The webhook: the body of a message, posted to a URL and signed as Standard Webhooks has it.

The *excerpt* is what of a receiver's reply may stand in an error: one printable line without any part of the URL or
the secret. `docs/webhook.md` is this module as its receivers see it.
"""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Self, cast
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from monitor.channels.body import printable, seal
from monitor.errors import ConfigError, PermanentFailure, TransientFailure
from monitor.ports import Message

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 507, *range(520, 530)})
LONGEST_WAIT = timedelta(hours=1)
EXCERPT_LENGTH = 200
SECRET_PREFIX = "whsec_"
SECRET_BYTES = 24


class WebhookSettings(BaseModel):
    """Messages as signed JSON, posted to a URL."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["webhook"] = Field("webhook", description="messages as signed JSON, posted to a URL")
    url: SecretStr | None = Field(None, description="where to post; a secret, so better in `url_file`")
    url_file: Path | None = Field(None, description="a file that holds the URL")
    secret: SecretStr | None = Field(None, description="`whsec_…`, signs each message; better in `secret_file`")
    secret_file: Path | None = Field(None, description="a file that holds the secret")
    allow_private: bool = Field(False, description="permit a receiver on this machine or in a private network")

    @field_validator("url")
    @classmethod
    def _url_can_be_posted_to(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _check_url(url.get_secret_value())
        return url

    @field_validator("secret")
    @classmethod
    def _secret_can_sign(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            _check_secret(secret.get_secret_value())
        return secret

    @model_validator(mode="after")
    def _each_is_given_once(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("expected either `url` or `url_file`")
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("expected `secret` or `secret_file`, not both")
        return self


class Webhook:
    """A channel that posts to one URL.

    Raises: ConfigError, where a file that the settings name cannot be used.
    """

    def __init__(self, name: str, settings: WebhookSettings) -> None:
        from monitor.net import GuardedClient  # it loads slowly

        self.name = name
        self._url = cast("SecretStr", _given(name, settings.url, settings.url_file, _check_url))
        self._secret = _given(name, settings.secret, settings.secret_file, _check_secret)
        self._agent = f"barwatch/{version('barwatch')}"
        self._client = GuardedClient(allow_private=settings.allow_private)

    def seal(self, message: Message) -> bytes:
        """The body as it is posted."""
        return seal(message)

    async def deliver(self, message_id: str, payload: bytes, now: datetime) -> str:
        """Post the body, signed as of `now`.

        Raises: TransientFailure, PermanentFailure, UnknownOutcome.
        """
        url = self._url.get_secret_value()
        reply = await self._client.post(url, payload, self._headers(message_id, payload, now))
        answer = f"HTTP {reply.status_code}"
        if 200 <= reply.status_code < 300:
            return answer
        told = f"{answer} from host {urlsplit(url).hostname}"
        if excerpt := self._excerpt(reply.body):
            told += f": {excerpt}"
        if reply.status_code in TRANSIENT:
            raise TransientFailure(told, retry_after(reply.headers.get("retry-after", ""), now))
        raise PermanentFailure(told)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _headers(self, message_id: str, payload: bytes, now: datetime) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "idempotency-key": message_id,
            "user-agent": self._agent,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if self._secret:
            from standardwebhooks import Webhook as Signer

            # It reads the time without its zone, so the zone must be UTC.
            signer = Signer(self._secret.get_secret_value())
            headers["webhook-signature"] = signer.sign(message_id, now.astimezone(UTC), payload.decode())
        return headers

    def _excerpt(self, body: bytes) -> str:
        text = body.decode("utf-8", "replace")
        for part in self._secret_parts():
            text = text.replace(part, "[redacted]")
        return printable(text)[:EXCERPT_LENGTH]

    def _secret_parts(self) -> list[str]:
        """What a reply must not repeat into a log, longest first: pieces of the URL, as a receiver may quote any."""
        url = urlsplit(self._url.get_secret_value())
        pieces = re.split("[/?&=]", f"{url.path}?{url.query}")
        if self._secret:
            pieces.append(self._secret.get_secret_value().removeprefix(SECRET_PREFIX))
        spellings = {spelling for piece in pieces for spelling in (piece, unquote(piece)) if len(spelling) >= 4}
        return sorted(spellings, key=len, reverse=True)


def retry_after(value: str, now: datetime) -> timedelta | None:
    """How long a `Retry-After` asks to wait, at most `LONGEST_WAIT`; None where it makes no sense."""
    try:
        if value.isascii() and value.isdigit():
            return timedelta(seconds=min(int(value), LONGEST_WAIT.seconds))
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return min(LONGEST_WAIT, wait) if wait >= timedelta(0) else None


def _check_url(url: str) -> None:
    from monitor.net import read_url

    read_url(url)


def _check_secret(secret: str) -> None:
    text = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) < SECRET_BYTES:
        raise ValueError(f"expected {SECRET_PREFIX} and the base64 of {SECRET_BYTES} random bytes or more")


def _given(name: str, value: SecretStr | None, path: Path | None, check: Callable[[str], None]) -> SecretStr | None:
    """The secret as it stands in the settings or in the file that they name."""
    if path is None:
        return value
    try:
        text = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"channel {name}: {path} cannot be read: {reason}") from error
    try:
        check(text)
    except ValueError as error:
        raise ConfigError(f"channel {name}: {path}: {error}") from None
    return SecretStr(text)
