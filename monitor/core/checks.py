"""Check: a rule with its parameters, by its meaning alone.

A check is *armed* from a bar: only later bars can fire it. Its condition is true, false or unknown at each bar; the
*trigger* says which change of it fires, `confirm` how many bars it must have held first, `rearm` how many bars it must
have been false before it can fire again. Unknown neither fires nor re-arms, and breaks both counts. A check that is
already true when it is armed counts as having fired.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from monitor.core.classify import Method
from monitor.core.events import digest
from monitor.core.expressions import Expression


class Trigger(StrEnum):
    """Which change of a condition fires."""

    RISING = "rising"
    FALLING = "falling"
    CHANGE = "change"
    LEVEL = "level"


@dataclass(frozen=True)
class Check:
    """A rule by its meaning alone: its name, severity and channels belong to its routes.

    Without a `condition` it is the built-in trend rule, which `early_warning` extends.
    """

    method: Method
    condition: Expression | None = None
    trigger: Trigger = Trigger.RISING
    confirm: int = 1
    rearm: int = 1
    early_warning: bool = False

    @cached_property
    def digest(self) -> str:
        method = vars(self.method) if self.reads_method else None
        if self.condition is None:
            return digest(["trend", method, self.early_warning])
        return digest(["condition", self.condition.canonical, method, self.trigger, self.confirm, self.rearm])

    @property
    def reads_method(self) -> bool:
        return self.condition is None or self.condition.reads_method

    @property
    def settle(self) -> int | None:
        """Bars of history that its newest value depends on; None for all of them."""
        return 0 if self.condition is None else self.condition.settle
