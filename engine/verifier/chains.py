"""Chains of calls, and what a walk learns of the stack in each (`func_instance` of kernel/bpf/liveness.c).

A set of slots is an integer with bit 64 * frame + slot.
"""

__all__ = ["Chain"]


class Chain:
    """What is known of one function reached through one chain of calls.

    reads, writes: slots that an instruction reads on some visit, writes on every visit. live: slots that
    may be read at it or later. written: slots that it or what follows writes in any case. changed:
    instructions for which there is news. updated: whether any of it may matter. dropped: whether a visit
    wrote less than those before.
    """

    __slots__ = (
        "changed",
        "children",
        "depth",
        "dropped",
        "live",
        "parent",
        "reads",
        "site",
        "start",
        "updated",
        "writes",
        "written",
    )

    def __init__(self, parent: "Chain | None", site: int, start: int) -> None:
        self.parent = parent
        self.site = site
        self.start = start
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.children: dict[tuple[int, int], Chain] = {}
        self.reads: dict[int, int] = {}
        self.writes: dict[int, int] = {}
        self.live: dict[int, int] = {}
        self.written: dict[int, int] = {}
        self.changed: set[int] = set()
        self.updated = self.dropped = False

    def read(self, idx: int, mask: int) -> None:
        """Instruction `idx` may read these slots."""
        known = self.reads.get(idx, 0)
        if mask & ~known:
            self.reads[idx] = known | mask
            self.changed.add(idx)
            if mask & ~known & ~self.live.get(idx, 0):
                self.updated = True

    def write(self, idx: int, mask: int) -> None:
        """Instruction `idx` wrote exactly these slots on one visit."""
        known = self.writes.get(idx)
        if known is not None:
            mask &= known
            self.dropped |= mask != known
        self.writes[idx] = mask
        if mask != (known or 0):
            self.changed.add(idx)
            self.updated = True

    @property
    def name(self) -> str:
        """The calls that lead to the function, and where it begins, as the log shows them: `(5,12)`."""
        sites = [self.start]
        chain = self
        while chain.parent is not None:
            sites.append(chain.site)
            chain = chain.parent
        return f"({','.join(map(str, reversed(sites)))})"
