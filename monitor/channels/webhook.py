"""The webhook: the body of a message, posted to a URL and signed as Standard Webhooks has it.

The *excerpt* is what of a receiver's reply may stand in an error: one printable line without any part of the URL or
the secret. `docs/webhook.md` is this module as its receivers see it.
"""

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from monitor.channels.body import printable, seal
from monitor.errors import ConfigError, PermanentFailure, TransientFailure
from monitor.ports import Message

if TYPE_CHECKING:
    from monitor.net import Reply

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 507, *range(520, 530)})
LONGEST_WAIT = timedelta(hours=1)
EXCERPT_LENGTH = 200


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

    Raises: ConfigError, where a file of the settings cannot be used.
    """

    def __init__(self, name: str, settings: WebhookSettings) -> None:
        from monitor.net import GuardedClient

        self.name = name
        url = settings.url or _read(name, settings.url_file, _check_url)
        ...
