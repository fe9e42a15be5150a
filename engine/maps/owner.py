"""Which programs may meet in a map that holds programs (`__bpf_prog_map_compatible`, kernel/bpf/core.c)."""

from engine.maps.base import Map
from engine.maps.spec import refuse_unless
from engine.progspec import ProgFlag, ProgSpec

__all__ = ["ProgHolder"]


class ProgHolder(Map):
    """A map of programs that all are like the first one that was put into it, or that was loaded with it."""

    def check_owner(self, spec: ProgSpec) -> None:
        """EINVAL for a program of another type than the first, or that differs in taking fragments."""
        asked = int(spec.type), bool(spec.flags & ProgFlag.XDP_HAS_FRAGS)
        # One step: of two programs that are loaded at once, one is the first.
        first = vars(self).setdefault("_owner", asked)
        refuse_unless(first == asked, "not a program like the first of this map")
