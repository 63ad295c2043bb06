"""The kinds of providers: their settings, joined into one type by `kind`.

Importing this loads no adapter. A new kind is a file beside this one and a member of the union.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, assert_never
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

if TYPE_CHECKING:
    from monitor.ports import Provider

__all__ = [
    "AlpacaSettings",
    "BinanceSettings",
    "CoinbaseSettings",
    "FilesSettings",
    "ProviderSettings",
    "ReplaySettings",
    "TwelveDataSettings",
    "YahooSettings",
    "build",
]


_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)*/?")


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"unknown time zone {name!r}; expected one like 'America/New_York'") from None
    return name


def _https(url: str) -> str:
    if not _ADDRESS.fullmatch(url):
        raise ValueError("expected an address like https://api.binance.us")
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise ValueError("expected an address that begins with https://")
    _ = parts.port  # refuses one that there is not
    return url


def _one_word(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text or not all("!" <= letter <= "~" for letter in text):
        raise ValueError("expected one word of ASCII letters and signs")
    return secret


def _check_given_once(settings: BaseModel, *names: str) -> None:
    for name in names:
        if (getattr(settings, name) is None) == (getattr(settings, f"{name}_file") is None):
            raise ValueError(f"expected either `{name}` or `{name}_file`")


Url = Annotated[str, AfterValidator(_https)]
Secret = Annotated[SecretStr, AfterValidator(_one_word)]
Folder = Annotated[Path, Field(description="where the files <timeframe>/<SYMBOL>.csv or .parquet are")]
Zone = Annotated[str, AfterValidator(_known_zone)]
OptionalZone = Annotated[Zone | None, Field(description="time zone of intraday times written without one; else UTC")]


class FilesSettings(BaseModel):
    """A folder of bar files that another program keeps up to date."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["files"]
    folder: Folder = Path("bars")
    zone: OptionalZone = None


class ReplaySettings(BaseModel):
    """A folder of bar files, served as if each bar had just closed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["replay"]
    folder: Folder = Path("bars")
    zone: OptionalZone = None


class AlpacaSettings(BaseModel):
    """Shares of the United States, from the market data API of Alpaca."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["alpaca"]
    key_id: Secret | None = Field(None, description="the key's ID, shown beside its secret when it is made")
    key_id_file: Path | None = Field(None, description="a file that holds the key's ID")
    secret: Secret | None = Field(None, description="the key's secret; better in `secret_file`")
    secret_file: Path | None = Field(None, description="a file that holds the key's secret")
    feed: Literal["delayed_sip", "sip", "iex"] = Field(
        "delayed_sip", description="all exchanges 15 minutes late, all in real time (a paid plan), or one in real time"
    )
    url: Url | None = Field(None, description="another address of the API than https://data.alpaca.markets")

    @model_validator(mode="after")
    def _keys_are_given_once(self) -> Self:
        _check_given_once(self, "key_id", "secret")
        return self


class BinanceSettings(BaseModel):
    """Crypto, from the spot market of Binance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["binance"]
    url: Url | None = Field(
        None, description="another address of the API than https://api.binance.com, such as https://api.binance.us"
    )


class CoinbaseSettings(BaseModel):
    """Crypto, from the exchange of Coinbase."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["coinbase"]
    url: Url | None = Field(None, description="another address of the API than https://api.exchange.coinbase.com")


class TwelveDataSettings(BaseModel):
    """Shares of the world, currencies and crypto, from the API of Twelve Data."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["twelvedata"]
    key: Secret | None = Field(None, description="the API key; better in `key_file`")
    key_file: Path | None = Field(None, description="a file that holds the API key")
    credits_per_minute: Annotated[int, Field(ge=1, le=100_000, description="what the plan has; a symbol costs one")] = 8
    url: Url | None = Field(None, description="another address of the API than https://api.twelvedata.com")

    @model_validator(mode="after")
    def _key_is_given_once(self) -> Self:
        _check_given_once(self, "key")
        return self


class YahooSettings(BaseModel):
    """Shares, indices, currencies, crypto and futures of the world, from Yahoo Finance through yfinance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["yahoo"]
    requests_per_second: Annotated[
        float, Field(gt=0, le=2, description="the pace of requests; Yahoo bans who asks for too much, for hours")
    ] = 0.5


ProviderSettings = Annotated[
    AlpacaSettings
    | BinanceSettings
    | CoinbaseSettings
    | FilesSettings
    | ReplaySettings
    | TwelveDataSettings
    | YahooSettings,
    Field(discriminator="kind"),
]


def build(settings: ProviderSettings, folder: Path, state: Path) -> "Provider":
    """The provider that settings describe; relative paths begin at `folder`, what it keeps of its own is in `state`.

    Raises: ConfigError.
    """
    match settings:
        case FilesSettings() | ReplaySettings():
            from monitor.providers.files import FilesProvider

            return FilesProvider(folder / settings.folder, settings.zone)
        case AlpacaSettings():
            from monitor.providers.alpaca import AlpacaProvider

            return AlpacaProvider(settings)
        case BinanceSettings():
            from monitor.providers.binance import BinanceProvider

            return BinanceProvider(settings)
        case CoinbaseSettings():
            from monitor.providers.coinbase import CoinbaseProvider

            return CoinbaseProvider(settings)
        case TwelveDataSettings():
            from monitor.providers.twelvedata import TwelveDataProvider

            return TwelveDataProvider(settings)
        case YahooSettings():
            from monitor.providers.yahoo import YahooProvider

            return YahooProvider(state / "yahoo", settings.requests_per_second)
        case _:
            assert_never(settings)
