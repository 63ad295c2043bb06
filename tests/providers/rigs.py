"""Each provider over plain HTTP, set up against its API on loopback."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitor.ports import Provider
from monitor.providers import AlpacaSettings, BinanceSettings, CoinbaseSettings, TwelveDataSettings
from monitor.providers.alpaca import AlpacaProvider
from monitor.providers.binance import BinanceProvider
from monitor.providers.coinbase import CoinbaseProvider
from monitor.providers.twelvedata import TwelveDataProvider
from tests.providers.rest import AlpacaApi, BinanceApi, CoinbaseApi, RestApi, Row, TwelveDataApi

CANARY = "c4n4ry-k3y"
APPLE = {
    "currency": "USD",
    "exchange_timezone": "America/New_York",
    "exchange": "NASDAQ",
    "mic_code": "XNGS",
    "type": "Common Stock",
}


@dataclass(frozen=True)
class Rig:
    """A provider and the API that it asks.

    `symbols` are some that it can have, with the API's spelling of each; `daily` is the API's word for daily bars,
    `opens` how long after its label the API's daily bar begins, `closes` how long after it the market closes.
    """

    provider: Provider
    api: Any
    symbols: Mapping[str, str]
    daily: str
    opens: timedelta
    closes: timedelta

    def give(self, symbol: str, rows: list[Row]) -> None:
        """Have these daily bars, by their session dates."""
        self.api.give(self.symbols[symbol], self.daily, [(row[0] + self.opens, *row[1:]) for row in rows])


SHARES = {"AAPL": "AAPL", "BRK-B": "BRK.B", "MSFT": "MSFT"}
PAIRS = {"BTC-USD": "BTC-USD", "ETH-EUR": "ETH-EUR", "SOL-USD": "SOL-USD"}
TETHERED = {"BTC-USD": "BTCUSDT", "ETH-EUR": "ETHEUR", "SOL-USD": "SOLUSDT"}
NONE, DAY, NEW_YORK = timedelta(0), timedelta(days=1), timedelta(hours=21)


@contextmanager
def alpaca(now: datetime, **settings: Any) -> Iterator[Rig]:
    with AlpacaApi(now, f"{CANARY}-id", CANARY) as api:
        chosen = {"kind": "alpaca", "key_id": f"{CANARY}-id", "secret": CANARY, "url": api.url} | settings
        with closing(AlpacaProvider(AlpacaSettings.model_validate(chosen))) as provider:
            yield Rig(provider, api, SHARES, "1Day", timedelta(hours=5), NEW_YORK)


@contextmanager
def binance(now: datetime) -> Iterator[Rig]:
    with BinanceApi(now) as api, closing(BinanceProvider(BinanceSettings(kind="binance", url=api.url))) as provider:
        yield Rig(provider, api, TETHERED, "1d", NONE, DAY)


@contextmanager
def coinbase(now: datetime) -> Iterator[Rig]:
    with CoinbaseApi(now) as api, closing(CoinbaseProvider(CoinbaseSettings(kind="coinbase", url=api.url))) as provider:
        yield Rig(provider, api, PAIRS, "86400", NONE, DAY)


@contextmanager
def twelvedata(now: datetime, **settings: Any) -> Iterator[Rig]:
    with TwelveDataApi(now, CANARY) as api:
        api.meta |= dict.fromkeys(SHARES.values(), APPLE)
        chosen = {"kind": "twelvedata", "key": CANARY, "url": api.url, "credits_per_minute": 6000} | settings
        with closing(TwelveDataProvider(TwelveDataSettings.model_validate(chosen))) as provider:
            yield Rig(provider, api, SHARES, "1day", NONE, NEW_YORK)


RIGS: dict[str, Callable[[datetime], AbstractContextManager[Rig]]] = {
    "alpaca": alpaca,
    "binance": binance,
    "coinbase": coinbase,
    "twelvedata": twelvedata,
}

__all__ = ["CANARY", "RIGS", "RestApi", "Rig", "alpaca", "binance", "coinbase", "twelvedata"]
