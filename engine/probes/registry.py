"""The registry of probes: kprobes, kretprobes and probes of tracepoints of the modelled kernel.

The rules are those of kernel/kprobes.c; of one function, the most recently registered probe fires first.
Probes may be added and removed at any time, from any thread; the machine's lock guards the registry, and
running threads follow what is published.
"""

import errno
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.env import peek64, poke64
from engine.errors import KernelError
from engine.kernel.symbols import Symbol
from engine.kernel.tracepoints import tracepoints
from engine.probes.layout import REC_SIZE, Rec, RecKind
from engine.probes.probe import Probe
from engine.probes.sites import Sites

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["Probes"]

_MIN_MAX_ACTIVE = 10


class Probes:
    """All probes of a machine."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine
        self._symbols = machine.kernel.symbols
        self._sites = Sites(machine.heap, machine.epoch, machine.ctl, self._symbols)
        self._by_function: dict[str, list[Probe]] = defaultdict(list)
        self._changed: set[str] = set()
        self._batches = 0
        self._spare: list[int] = []
        self.on_change: list[Callable[[], None]] = []
        """Called after every publication, without locks; must not block."""

    @property
    def default_max_active(self) -> int:
        """Pending returns of a return probe that names no number (kernel/kprobes.c, register_kretprobe)."""
        return max(_MIN_MAX_ACTIVE, 2 * self._machine.nr_cpus)

    def find(self, symbol: str | None, addr: int | None, offset: int, *, ret: bool) -> Symbol:
        """The function that a probe point is the entry of, by name or by address, plus offset.

        Raises KernelError: ENOENT for no such symbol or an address outside of all functions, EILSEQ inside a
        function (the model has one instruction boundary in each, its entry), EINVAL for a return probe
        there, for a symbol that must not be probed, or with neither symbol nor address.
        """
        if symbol is None and not addr:
            raise KernelError(errno.EINVAL, "neither symbol nor address")
        named = self._symbols.lookup(symbol) if symbol is not None else None
        if symbol is not None and named is None:
            raise KernelError(errno.ENOENT, f"no function {symbol}")
        if named is not None and offset == 0:
            found: Symbol | None = named
            at = named.address
        else:
            at = (named.address if named is not None else addr or 0) + offset
            found = self._symbols.at(at)
        if found is None:
            raise KernelError(errno.ENOENT, f"{at:#x} is outside of all functions")
        if at != found.address:
            if ret:
                raise KernelError(errno.EINVAL, "a return probe must sit on a function's entry")
            raise KernelError(
                errno.EILSEQ, f"{found.name}+{at - found.address:#x} is not an instruction boundary"
            )
        if not found.probeable:
            raise KernelError(errno.EINVAL, f"{found.name} must not be probed")
        return found

    def register(
        self,
        symbol: str | None,
        addr: int | None,
        offset: int,
        handler: int,
        priv: int,
        *,
        ret: bool,
        max_active: int = 0,
    ) -> Probe:
        """A new probe, disabled, that calls native `handler(env, regs, priv)`. KernelError as for `find`.

        `max_active` bounds the pending returns of a return probe; 0 takes the default.
        """
        found = self.find(symbol, addr, offset, ret=ret)
        at_address = self._symbols.at(found.address)
        function = at_address.name if at_address is not None else found.name
        with self._machine.lock:
            record = self._new_record(handler, priv)
            poke64(record + Rec.IS_RETURN, int(ret))
            poke64(record + Rec.MAX_ACTIVE, max_active or self.default_max_active)
            poke64(record + Rec.OBJECTS, 1)
            probe = Probe(self, record, symbol or found.name, function, found.address)
            self._by_function[function].insert(0, probe)
        return probe

    def register_tracepoint(self, name: str, handler: int, priv: int, *, raw: bool = False) -> Probe:
        """A probe, disabled, on the tracepoint `system:name`, that calls native `handler(env, data, priv)`.

        `data` is the host address of the record (its size in `Env.RECORD_SIZE`), or with `raw` of the
        tracepoint's argument words. Raises KernelError ENOENT for no such tracepoint, or no raw one.
        """
        row = tracepoints().get(name)
        if row is None or (raw and not row.raw_args):
            raise KernelError(errno.ENOENT, f"no tracepoint {name}")
        with self._machine.lock:
            record = self._new_record(handler, priv)
            poke64(record + Rec.KIND, RecKind.RAW_ARGS if raw else RecKind.RECORD)
            probe = Probe(self, record, name, name, 0)
            # Probes of a tracepoint run in the order in which they were added (kernel/tracepoint.c).
            self._by_function[name].append(probe)
        return probe

    def _new_record(self, handler: int, priv: int) -> int:
        record = self._spare.pop() if self._spare else self._machine.heap.alloc(REC_SIZE, 64)
        generation = peek64(record + Rec.GENERATION)
        for offset in range(0, REC_SIZE, 8):
            poke64(record + offset, 0)
        poke64(record + Rec.GENERATION, generation)
        poke64(record + Rec.HANDLER, handler)
        poke64(record + Rec.PRIV, priv)
        return record

    def set_enabled(self, probes: Iterable[Probe], enabled: bool) -> None:
        """Enable or disable several probes in one publication. KernelError ENODEV for a removed one."""
        with self.batch(), self._machine.lock:
            for probe in probes:
                if not probe.registered:
                    raise KernelError(errno.ENODEV, "the probe has been removed")
                if probe.enabled != enabled:
                    poke64(probe.record + Rec.ENABLED, int(enabled))
                    self._changed.add(probe.function)

    def unregister(self, probes: Iterable[Probe]) -> None:
        """Remove several probes in one publication; removed ones are ignored."""
        gone = []
        with self.batch(), self._machine.lock:
            for probe in probes:
                if not probe.registered:
                    continue
                self._by_function[probe.function].remove(probe)
                if probe.enabled:
                    self._changed.add(probe.function)
                poke64(probe.record + Rec.ENABLED, 0)
                poke64(probe.record + Rec.GENERATION, peek64(probe.record + Rec.GENERATION) + 1)
                probe.forget()
                gone.append(probe.record)
        if gone:
            self._machine.epoch.retire(lambda: self._recycle(gone))

    def _recycle(self, records: list[int]) -> None:
        with self._machine.lock:
            self._spare += records

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Publish what changes inside only at the end, once."""
        with self._machine.lock:
            self._batches += 1
        try:
            yield
        finally:
            with self._machine.lock:
                self._batches -= 1
                published = self._batches == 0 and self._publish()
            if published:
                for callback in list(self.on_change):
                    callback()

    def _publish(self) -> bool:
        if not self._changed:
            return False
        changed, self._changed = self._changed, set()
        self._sites.update({name: self.armed_records(name) for name in changed})
        return True

    def armed_records(self, function: str) -> list[int]:
        """Records of the enabled probes of a function or tracepoint, in firing order."""
        return [probe.record for probe in self._by_function[function] if probe.enabled]

    def of(self, name: str) -> list[Probe]:
        """Enabled probes of a function or tracepoint."""
        with self._machine.lock:
            return [probe for probe in self._by_function[name] if probe.enabled]

    @property
    def armed(self) -> frozenset[str]:
        """Functions and tracepoints that have enabled probes."""
        return self._sites.armed

    @property
    def all(self) -> list[Probe]:
        """Every registered probe."""
        with self._machine.lock:
            return [probe for probes in self._by_function.values() for probe in probes]
