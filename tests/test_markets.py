"""Which market a symbol is traded at."""

import exchange_calendars
import pytest

from monitor.errors import InputError
from monitor.markets import MARKETS, guess_market, parse_market


def test_the_markets_are_those_of_exchange_calendars_and_that_of_currencies():
    assert {*exchange_calendars.get_calendar_names(include_aliases=False), "FX"} == MARKETS


@pytest.mark.parametrize(
    ("written", "meant"), [("XNY", "XNYS"), ("xlon", "XLON"), ("NYSE", "XNYS"), ("XNSE", "XBOM"), ("forex", "FX")]
)
def test_an_unknown_market_is_told_with_the_nearest_one(written, meant):
    with pytest.raises(InputError, match=written) as caught:
        parse_market(written)
    assert repr(meant) in caught.value.hint


def test_every_market_is_its_own_code():
    assert {parse_market(code) for code in MARKETS} == MARKETS


@pytest.mark.parametrize(
    ("market", "symbols"),
    [
        ("XNYS", "AAPL BRK-B BF-B BAC-PL ^GSPC ^N225 MSFT.XX"),
        ("XLON", "AZN.L BT-A.L 0QZ3.IL azn.l"),
        ("XTKS", "7203.T"),
        ("XHKG", "9988.HK"),
        ("XBOM", "RELIANCE.NS 500325.BO"),
        ("XETR", "SAP.DE"),
        ("XFRA", "SAP.F"),
        ("XPAR", "MC.PA"),
        ("XAMS", "ASML.AS"),
        ("XSWX", "NESN.SW"),
        ("XSTO", "VOLV-B.ST"),
        ("XTSE", "SHOP.TO ABC.V"),
        ("XASX", "BHP.AX"),
        ("XKRX", "005930.KS 035720.KQ"),
        ("XTAI", "2330.TW 6488.TWO"),
        ("XSHG", "600519.SS 000001.SZ"),
        ("XTAE", "TEVA.TA"),
        ("BVMF", "PETR4.SA"),
        ("24/7", "BTC-USD ETH-EUR ETH-BTC SOL-USDT"),
        ("FX", "EURUSD=X JPY=X"),
        ("CMES", "ES=F GC=F"),
    ],
)
def test_the_spelling_of_a_symbol_points_to_its_market(market, symbols):
    assert {symbol: guess_market(symbol) for symbol in symbols.split()} == dict.fromkeys(symbols.split(), market)
