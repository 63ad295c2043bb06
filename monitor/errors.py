"""The error tree. What Barwatch raises on purpose is one of these; foreign errors become ours at the adapter's edge.

BarwatchError
├── InputError           something a person wrote or supplied cannot be used
│   ├── ConfigError      a key or a file of the configuration (says where)
│   ├── ConditionError   a condition, at a column
│   └── BarError         rows of market data
├── ProviderError        market data cannot be had now
│   ├── UnknownSymbol    the provider has no such symbol or timeframe
│   ├── Unreachable      the provider as a whole does not answer, or not sensibly
│   └── RateLimited      the provider asks to be left alone
├── StoreError           the state directory or a database cannot be used
│   ├── StoreInUse       another process holds the store
│   └── StoreNewer       the store was written by a newer version
└── DeliveryError        a message was not accepted
    ├── TransientFailure worth another try
    ├── PermanentFailure never worth another try
    └── UnknownOutcome   the receiver may or may not have it
"""

from datetime import timedelta


class BarwatchError(Exception):
    """A failure told in one line, with a second line of what to do about it."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(BarwatchError):
    """Something a person wrote or supplied cannot be used."""


class ConfigError(InputError):
    """A key or a file of the configuration; the message begins with file:line:column where there is one."""

    exit_code = 78


class ConditionError(InputError):
    """A condition that cannot be read.

    `column` counts from 1 and points into `text`.
    """

    def __init__(self, message: str, text: str, column: int, hint: str = "") -> None:
        super().__init__(message, hint)
        self.text = text
        self.column = column

    def pointed(self) -> str:
        """The text with a caret under the column."""
        return f"{self.text}\n{' ' * (self.column - 1)}^"


class BarError(InputError):
    """Rows of market data that break the rules of the bar frame."""


class ProviderError(BarwatchError):
    """Market data cannot be had now."""


class UnknownSymbol(ProviderError):
    """The provider has no such symbol, or not at that timeframe."""


class Unreachable(ProviderError):
    """The provider as a whole does not answer, or not sensibly: nothing follows for the symbol asked for."""


class RateLimited(ProviderError):
    """The provider asks to be left alone, until `retry_after` where it named a time."""

    def __init__(self, message: str, hint: str = "", retry_after: timedelta | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class StoreError(BarwatchError):
    """The state directory or one of its databases cannot be used."""


class StoreInUse(StoreError):
    """Another process holds the store."""

    exit_code = 75


class StoreNewer(StoreError):
    """The store was written by a newer version of Barwatch."""


class DeliveryError(BarwatchError):
    """A message was not accepted by its receiver."""


class TransientFailure(DeliveryError):
    """Worth another try, not before `retry_after` where the receiver named a time."""

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentFailure(DeliveryError):
    """Never worth another try with the same message."""


class UnknownOutcome(DeliveryError):
    """The exchange broke after the message may have been taken."""
