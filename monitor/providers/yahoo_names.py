"""What Yahoo calls exchanges and kinds of symbols, and how late it knows each market."""

from datetime import timedelta

_EXCHANGES = {
    "XNYS": "NMS NGM NCM NAS NIM NYQ NYS ASE PCX BTS OPR PNK OQB OQX OEM SNP DJI WCB CXI CGI CBO",
    "XTSE": "TOR VAN CNQ NEO", "XMEX": "MEX", "BVMF": "SAO", "XBUE": "BUE", "XSGO": "SGO",
    "XLON": "LSE IOB AQS FGI", "XDUB": "ISE", "XETR": "GER", "XFRA": "FRA", "XSTU": "STU", "XDUS": "DUS BER MUN",
    "XHAM": "HAM HAN", "XPAR": "PAR", "XAMS": "AMS", "XBRU": "BRU", "XLIS": "LIS", "XMIL": "MIL", "XMAD": "MCE",
    "XSWX": "EBS ZRH", "XWBO": "VIE", "XSTO": "STO", "XCSE": "CPH", "XHEL": "HEL", "XOSL": "OSL", "XICE": "ICE",
    "XTAL": "TAL", "XRIS": "RIS", "XLIT": "LIT", "XWAR": "WSE", "XPRA": "PRA", "XBUD": "BUD", "ASEX": "ATH",
    "XIST": "IST", "XTAE": "TLV", "XSAU": "SAU", "XJSE": "JNB",
    "XTKS": "JPX OSA FKA SAP", "XHKG": "HKG", "XSHG": "SHH SHZ", "XTAI": "TAI TWO", "XKRX": "KSC KOE", "XSES": "SES",
    "XKLS": "KLS", "XBKK": "SET", "XIDX": "JKT", "XPHS": "PHS", "XBOM": "NSI BSE", "XASX": "ASX", "XNZE": "NZE",
    "CMES": "CME CBT NYM CMX", "IEPA": "NYB", "FX": "CCY", "24/7": "CCC",
}  # fmt: skip
MARKETS = {exchange: market for market, names in _EXCHANGES.items() for exchange in names.split()}

KINDS = {
    "EQUITY": "equity", "ETF": "etf", "INDEX": "index", "CURRENCY": "currency", "CRYPTOCURRENCY": "crypto",
    "FUTURE": "future",
}  # fmt: skip

_MINUTES_LATE = {"XNYS": 0, "FX": 0, "24/5": 0, "24/7": 0, "XBOM": 15, "XHKG": 15, "XSWX": 30, "XSHG": 30, "CMES": 30}
_MINUTES_LATE_ELSEWHERE = 20


def lag(market: str) -> timedelta:
    """How much later than a market Yahoo knows its trades."""
    return timedelta(minutes=_MINUTES_LATE.get(market, _MINUTES_LATE_ELSEWHERE))
