"""Which market a symbol is traded at.

A *market* is the code of an exchange calendar (`XNYS`, `24/7`), or `FX`, the market of currencies, which has hours of
its own: Sunday 17:00 to Friday 17:00 in New York. A *suffix* is what Yahoo writes behind a symbol to name its exchange
(`AZN.L`). It is a first guess: what a provider or a watchlist says of a symbol comes before it.
"""

import re
from difflib import get_close_matches

from monitor.errors import InputError

FX = "FX"
MARKETS = frozenset({
    FX, "24/5", "24/7", "AIXK", "ASEX", "BVMF", "CMES", "IEPA", "XAMS", "XASX", "XBDA", "XBEL", "XBKK", "XBOG", "XBOM",
    "XBRA", "XBRU", "XBSE", "XBUD", "XBUE", "XCBF", "XCSE", "XCYS", "XDUB", "XDUS", "XEEE", "XETR", "XEUR", "XFRA",
    "XHAM", "XHEL", "XHKG", "XICE", "XIDX", "XIST", "XJSE", "XKAR", "XKLS", "XKRX", "XLIM", "XLIS", "XLIT", "XLJU",
    "XLON", "XLUX", "XMAD", "XMEX", "XMIL", "XMOS", "XNYS", "XNZE", "XOSL", "XPAR", "XPHS", "XPRA", "XRIS", "XSAU",
    "XSES", "XSGO", "XSHG", "XSTO", "XSTU", "XSWX", "XTAE", "XTAI", "XTAL", "XTKS", "XTSE", "XWAR", "XWBO", "XZAG",
    "us_futures",
})  # fmt: skip

_OTHER_NAMES = {
    "NYSE": "XNYS", "NASDAQ": "XNYS", "XNAS": "XNYS", "ARCX": "XNYS", "LSE": "XLON", "TSE": "XTKS", "HKEX": "XHKG",
    "XETRA": "XETR", "NSE": "XBOM", "XNSE": "XBOM", "BSE": "XBOM", "XSHE": "XSHG", "TSX": "XTSE", "ASX": "XASX",
    "CME": "CMES", "CRYPTO": "24/7", "FOREX": FX, "CCY": FX,
}  # fmt: skip

# Exchanges without a calendar of their own keep the hours of a neighbour: Mumbai's two, Shanghai and Shenzhen, Toronto
# and its venture board, the German floors.
_SUFFIXES = {
    "AS": "XAMS", "AT": "ASEX", "AX": "XASX", "BA": "XBUE", "BD": "XBUD", "BE": "XDUS", "BK": "XBKK", "BM": "XDUS",
    "BO": "XBOM", "BR": "XBRU", "CBT": "CMES", "CL": "XBOG", "CME": "CMES", "CMX": "CMES", "CN": "XTSE", "CO": "XCSE",
    "DE": "XETR", "DU": "XDUS", "F": "XFRA", "HA": "XHAM", "HE": "XHEL", "HK": "XHKG", "HM": "XHAM", "IC": "XICE",
    "IL": "XLON", "IR": "XDUB", "IS": "XIST", "JK": "XIDX", "JO": "XJSE", "KA": "XKAR", "KL": "XKLS", "KQ": "XKRX",
    "KS": "XKRX", "L": "XLON", "LM": "XLIM", "LS": "XLIS", "MC": "XMAD", "ME": "XMOS", "MI": "XMIL", "MU": "XDUS",
    "MX": "XMEX", "NE": "XTSE", "NS": "XBOM", "NYB": "IEPA", "NYM": "CMES", "NZ": "XNZE", "OL": "XOSL", "PA": "XPAR",
    "PR": "XPRA", "PS": "XPHS", "RG": "XRIS", "RO": "XBSE", "SA": "BVMF", "SG": "XSTU", "SI": "XSES", "SN": "XSGO",
    "SR": "XSAU", "SS": "XSHG", "ST": "XSTO", "SW": "XSWX", "SZ": "XSHG", "T": "XTKS", "TA": "XTAE", "TL": "XTAL",
    "TO": "XTSE", "TW": "XTAI", "TWO": "XTAI", "V": "XTSE", "VI": "XWBO", "VS": "XLIT", "WA": "XWAR",
}  # fmt: skip
# A share class is written the same way (`BRK-B`): only a currency behind the dash makes a pair.
_CRYPTO = re.compile(r"-(USD[CT]?|EUR|GBP|JPY|CHF|CAD|AUD|NZD|CNY|HKD|KRW|INR|BRL|TRY|RUB|BTC|ETH|BNB)$")


def parse_market(text: str) -> str:
    """The market of that code.

    Raises: InputError, with the nearest code.
    """
    if text in MARKETS:
        return text
    upper = text.strip().upper()
    near = _OTHER_NAMES.get(upper) or next(iter(get_close_matches(upper, MARKETS, 1, 0.3)), "XNYS")
    raise InputError(
        f"unknown market {text!r}; expected the code of an exchange calendar, or {FX}", f"did you mean {near!r}?"
    )


def guess_market(symbol: str) -> str:
    """The market that a symbol's spelling points to; New York's where it points nowhere."""
    upper = symbol.upper()
    if upper.endswith("=X"):
        return FX
    if upper.endswith("=F"):
        return "CMES"
    if _CRYPTO.search(upper):
        return "24/7"
    return _SUFFIXES.get(upper.rpartition(".")[2], "XNYS") if "." in upper else "XNYS"
