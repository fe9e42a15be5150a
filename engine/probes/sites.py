"""Site tables: what each system call and process event fires, built here and published whole.

Built from the calls of `engine.kernel.callparse` and the enabled probes of each function and tracepoint. A
change rebuilds only what it concerns; everything published is immutable, and what it replaces is
retired to the epoch.
"""

import ctypes
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.abi.syscalls import NR_SYSCALLS
from engine.env import Ctl, poke64
from engine.epoch import Epoch, publish
from engine.kernel.callparse import EXIT_CALL, KILLED_CALL, MOUNT_CALLS, ArgOp, Call, calls_of, width_of
from engine.kernel.functions import FUNCTIONS
from engine.kernel.symbols import SymbolTable
from engine.kernel.tracepoints import event_names
from engine.memory import Heap
from engine.probes.events import FIRST_ROW, Event
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


@dataclass(frozen=True, slots=True)
class _Row:
    """What one row of the table can fire: calls, tracepoints at entry, tracepoints at return."""

    calls: tuple[Call, ...]
    enter: tuple[str, ...] = ()
    exit: tuple[str, ...] = ()


_PROCESS_ROWS = (
    _Row((KILLED_CALL,)),
    _Row((EXIT_CALL,), ("sched:sched_process_exit",)),
    _Row((), ("task:task_newtask",)),
    _Row((), ("sched:sched_process_fork",)),
    _Row((), ("sched:sched_process_exec",)),
    _Row((), ("task:task_rename",)),
)
_MOUNT_ROWS = tuple(_Row((call,)) for call in MOUNT_CALLS)


def _rows() -> list[_Row]:
    """System calls by number, a row for all other numbers, one for -1, the events in order of `Event`."""
    rows = [_Row(calls_of(nr), *event_names(nr)) for nr in (*range(NR_SYSCALLS), None, -1)]
    return [*rows, *_PROCESS_ROWS, *_MOUNT_ROWS]


class Sites:
    """The published table. Not thread-safe: `Probes` calls it under its lock."""

    def __init__(self, heap: Heap, epoch: Epoch, ctl: int, symbols: SymbolTable) -> None:
        self._heap = heap
        self._epoch = epoch
        self._ctl = ctl
        self._symbols = symbols
        self._rows = _rows()
        self._users: dict[str, list[int]] = defaultdict(list)
        for i, row in enumerate(self._rows):
            names = [call.function.name for call in row.calls]
            for name in dict.fromkeys([*names, *row.enter, *row.exit]):
                self._users[name].append(i)
        self._records: dict[str, tuple[int, ...]] = {}
        self._lists: dict[tuple[int, ...], int] = {}
        self._frames: dict[int, int] = {}
        self._sites: dict[tuple[int, ...], int] = {}
        self._current = [0] * len(self._rows)
        self._table = 0
        self.armed: frozenset[str] = frozenset()
        """Functions and tracepoints that have enabled probes."""

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

    def _merged(self, names: Iterable[str]) -> tuple[int, ...]:
        return tuple(record for name in names for record in self._records.get(name, ()))

    def _list(self, names: Iterable[str]) -> int:
        """The list of records of these functions or tracepoints, shared; 0 if there are none."""
        records = self._merged(names)
        if not records:
            return 0
        if records not in self._lists:
            self._lists[records] = self._store(struct.pack(f"<{len(records) + 1}Q", len(records), *records))
        return self._lists[records]

    def _frame(self, call: Call) -> int:
        """The frame of an armed call, kept while its function's probes do not change; 0 if not armed."""
        probes = self._list([call.function.name])
        if not probes:
            return 0
        if id(call) not in self._frames:
            self._frames[id(call)] = self._store(frame_bytes(call, self._symbols, probes))
        return self._frames[id(call)]

    def _site(self, row: _Row) -> int:
        """The site of a row; rows that fire the same share one."""
        early = [frame for call in row.calls if not call.deferred and (frame := self._frame(call))]
        late = [frame for call in row.calls if call.deferred and (frame := self._frame(call))]
        outermost = any(call.depth == 0 and self._frame(call) for call in row.calls)
        enter, leave = self._list(row.enter), self._list(row.exit)
        frames = [*early, *late]
        if not frames and not enter and not leave:
            return 0
        key = (len(frames), len(late), int(outermost), 0, enter, leave, *frames)
        if key not in self._sites:
            self._sites[key] = self._store(struct.pack(f"<IIIIQQ{len(frames)}Q", *key))
        return self._sites[key]

    def update(self, changed: Mapping[str, Sequence[int]]) -> None:
        """Records in firing order of functions and tracepoints have changed: publish a table that says so.

        Records that the old table knew may be reclaimed after a retire that follows this call.
        """
        dead = []
        rows = set()
        for name, records in changed.items():
            self._records[name] = tuple(records)
            for i in self._users[name]:
                rows.add(i)
                calls = [call for call in self._rows[i].calls if call.function.name == name]
                dead += [self._frames.pop(id(call), 0) for call in calls]
        for i in rows:
            self._current[i] = self._site(self._rows[i])
        live = set(self._current)
        dead += [self._sites.pop(key) for key, site in list(self._sites.items()) if site not in live]
        dead += self._unused_lists()
        dead.append(self._table)
        self.armed = frozenset(name for name, records in self._records.items() if records)
        self._publish()
        self._retire(dead)

    def _unused_lists(self) -> list[int]:
        used = set(self._records.values())
        for row in self._rows:
            used |= {self._merged(row.enter), self._merged(row.exit)}
        return [self._lists.pop(key) for key in list(self._lists) if key not in used]

    def _publish(self) -> None:
        self._table = 0
        if any(self._current):
            rows = len(self._current)
            self._table = self._store(struct.pack(f"<{rows + 1}Q", NR_SYSCALLS, *self._current))
        publish(self._ctl + Ctl.ENTRY_SITES, self._table)
        syscalls, events = self._current[:FIRST_ROW], self._current[FIRST_ROW : FIRST_ROW + Event.VFS_OPEN]
        # A thread renames itself by prctl(2), which only its system-call stops show.
        poke64(self._ctl + Ctl.ARMED, int(any(syscalls) or events[Event.RENAME] != 0))
        poke64(self._ctl + Ctl.EVENTS, int(any(events)))
        late = any(key[1] or key[5] for key in self._sites)
        poke64(self._ctl + Ctl.EXIT_SITES, int(late))


assert struct.calcsize("<IIIIQQ") == SITE_HEAD
assert struct.calcsize("<QQIIIIQQQQ") + (MAX_ARGS + MAX_GUARDS) * OP_SIZE == FRAME_SIZE
