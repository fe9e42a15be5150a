"""One registered probe: its native record, its state and its counters."""

from typing import TYPE_CHECKING

from engine.env import peek64, poke64
from engine.probes.layout import Rec

if TYPE_CHECKING:
    from engine.probes.registry import Probes

__all__ = ["Probe"]


class Probe:
    """A kprobe or kretprobe. Made by `Probes.register`, disabled; all changes go through the registry.

    `symbol` is the function's name as it was asked for (an alias stays an alias), `function` the function
    that it sits on, `address` where.
    """

    def __init__(self, owner: "Probes", record: int, symbol: str, function: str, address: int) -> None:
        self._owner = owner
        self.record = record
        self.symbol = symbol
        self.function = function
        self.address = address
        self.registered = True
        self._counts = (0, 0)

    @property
    def is_return(self) -> bool:
        """Whether it reports returns."""
        return bool(self.registered and peek64(self.record + Rec.IS_RETURN))

    @property
    def enabled(self) -> bool:
        """Whether it fires."""
        return bool(self.registered and peek64(self.record + Rec.ENABLED))

    @property
    def nhit(self) -> int:
        """How often its handler ran."""
        return peek64(self.record + Rec.NHIT) if self.registered else self._counts[0]

    @property
    def nmissed(self) -> int:
        """How often its handler should have run and could not."""
        return peek64(self.record + Rec.NMISSED) if self.registered else self._counts[1]

    @property
    def follows_pointers(self) -> bool:
        """Whether its handler may look into kernel objects that arguments point to; true at first.

        Where it is false for all probes of a function, such objects are not filled, which saves several
        system calls a hit.
        """
        return bool(self.registered and peek64(self.record + Rec.OBJECTS))

    @follows_pointers.setter
    def follows_pointers(self, value: bool) -> None:
        if self.registered:
            poke64(self.record + Rec.OBJECTS, int(value))

    def enable(self) -> None:
        """Fire from now on; takes effect at each thread's next stop."""
        self._owner.set_enabled([self], True)

    def disable(self) -> None:
        """Fire no more. A handler that runs at this moment may still finish."""
        self._owner.set_enabled([self], False)

    def unregister(self) -> None:
        """Remove it for good. What its handler uses may be freed by a retire that follows."""
        self._owner.unregister([self])

    def add_missed(self, count: int = 1) -> None:
        """Count hits that were lost before the handler."""
        if self.registered:
            poke64(self.record + Rec.NMISSED, self.nmissed + count)

    def forget(self) -> None:
        """Keep the last counts; the record belongs to others now. For the registry."""
        self._counts = (self.nhit, self.nmissed)
        self.registered = False
