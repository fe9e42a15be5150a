"""Site tables: which frames each system call fires, built here and published whole.

Built from the calls of `engine.kernel.callparse` and the enabled probes of each function. A change rebuilds
only the frames of the functions it concerns; everything published is immutable, and what it replaces is
retired to the epoch.
"""

import ctypes
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from engine.abi.syscalls import NR_SYSCALLS
from engine.env import Ctl, poke64
from engine.epoch import Epoch, publish
from engine.kernel.callparse import ArgOp, Call, calls_of, width_of
from engine.kernel.functions import FUNCTIONS
from engine.kernel.symbols import SymbolTable
from engine.memory import Heap
from engine.probes.layout import FRAME_SIZE, MAX_ARGS, MAX_GUARDS, OP_SIZE, SITE_HEAD

__all__ = ["Sites", "frame_bytes"]

_ENTRY_CALL_OFFSET = 0x6E
"""Where `entry_SYSCALL_64_after_hwframe` goes on after `do_syscall_64`."""


def _mask(ctype: str) -> int:
    return (1 << 8 * width_of(ctype)) - 1


def _op(op: ArgOp, mask: int) -> bytes:
    return struct.pack("<IHHQQII", op.kind, op.x, op.y, op.imm & 2**64 - 1, mask, op.buffer, 0)


def frame_bytes(call: Call, symbols: SymbolTable, probes: int) -> bytes:
    """The frame of an armed call; `probes` is the address of its list of records."""
    function, caller = symbols.lookup(call.function.name), symbols.lookup(call.caller)
    if function is None or caller is None:
        raise ValueError(f"no symbol for {call}")
    known = FUNCTIONS.get(call.caller)
    back = caller.address + (known.call_offset if known else _ENTRY_CALL_OFFSET)
    if len(call.args) > MAX_ARGS or len(call.guards) > MAX_GUARDS:
        raise ValueError(f"too many operations in {call}")
    head = struct.pack(
        "<QQIIIIQQQQ",
        function.address,
        back,
        call.depth,
        len(call.args),
        len(call.guards),
        call.ret,
        call.ret_imm,
        _mask(call.function.returns),
        probes,
        0,
    )
    params = zip(call.args, call.function.params, strict=True)
    args = b"".join(_op(op, _mask(param.type)) for op, param in params)
    guards = b"".join(_op(op, 0) for op in call.guards)
    return head + args.ljust(MAX_ARGS * OP_SIZE, b"\0") + guards.ljust(MAX_GUARDS * OP_SIZE, b"\0")


class Sites:
    """The published table of system call entries. Not thread-safe: `Probes` calls it under its lock."""

    def __init__(self, heap: Heap, epoch: Epoch, ctl: int, symbols: SymbolTable) -> None:
        self._heap = heap
        self._epoch = epoch
        self._ctl = ctl
        self._symbols = symbols
        self._rows: list[tuple[Call, ...]] = [calls_of(nr) for nr in range(NR_SYSCALLS)]
        self._rows.append(calls_of(None))
        self._users: dict[str, list[int]] = defaultdict(list)
        for i, calls in enumerate(self._rows):
            for name in dict.fromkeys(call.function.name for call in calls):
                self._users[name].append(i)
        self._lists: dict[str, int] = {}
        self._frames: dict[int, int] = {}
        self._sites: dict[tuple[int, ...], int] = {}
        self._current = [0] * len(self._rows)
        self._table = 0

    def _store(self, data: bytes) -> int:
        address = self._heap.alloc(len(data))
        ctypes.memmove(address, data, len(data))
        return address

    def _retire(self, blocks: Iterable[int]) -> None:
        dead = [block for block in blocks if block]

        def reclaim() -> None:
            for block in dead:
                self._heap.free(block)

        if dead:
            self._epoch.retire(reclaim)

    def _frame(self, call: Call) -> int:
        """The frame of an armed call, kept while its function's probes do not change; 0 if not armed."""
        probes = self._lists.get(call.function.name, 0)
        if not probes:
            return 0
        if id(call) not in self._frames:
            self._frames[id(call)] = self._store(frame_bytes(call, self._symbols, probes))
        return self._frames[id(call)]

    def _site(self, calls: Sequence[Call]) -> int:
        """The site of a row; rows with the same frames share one."""
        early = [frame for call in calls if not call.deferred and (frame := self._frame(call))]
        late = [frame for call in calls if call.deferred and (frame := self._frame(call))]
        key = (len(late), *early, *late)
        if len(key) == 1:
            return 0
        if key not in self._sites:
            words = struct.pack("<II", len(key) - 1, len(late)) + struct.pack(f"<{len(key) - 1}Q", *key[1:])
            self._sites[key] = self._store(words)
        return self._sites[key]

    def update(self, changed: Mapping[str, Sequence[int]]) -> None:
        """Functions' probe records in firing order have changed: publish a table that says so.

        Records that the old table knew may be reclaimed after a retire that follows this call.
        """
        dead = []
        rows = set()
        for name, records in changed.items():
            dead.append(self._lists.pop(name, 0))
            if records:
                self._lists[name] = self._store(struct.pack(f"<{len(records) + 1}Q", len(records), *records))
            for i in self._users[name]:
                rows.add(i)
                calls = [call for call in self._rows[i] if call.function.name == name]
                dead += [self._frames.pop(id(call), 0) for call in calls]
        for i in rows:
            self._current[i] = self._site(self._rows[i])
        live = set(self._current)
        unused = [key for key, site in self._sites.items() if site not in live]
        dead += [self._sites.pop(key) for key in unused]
        dead.append(self._table)
        self._publish()
        self._retire(dead)

    def _publish(self) -> None:
        self._table = 0
        if any(self._current):
            rows = len(self._rows)
            self._table = self._store(struct.pack(f"<{rows + 1}Q", rows - 1, *self._current))
        publish(self._ctl + Ctl.ENTRY_SITES, self._table)
        deferred = any(key[0] for key in self._sites)
        poke64(self._ctl + Ctl.EXIT_SITES, int(deferred))

    @property
    def armed(self) -> bool:
        """Whether any system call fires anything."""
        return self._table != 0


assert struct.calcsize("<II") == SITE_HEAD
assert struct.calcsize("<QQIIIIQQQQ") + (MAX_ARGS + MAX_GUARDS) * OP_SIZE == FRAME_SIZE
