"""kprobe_events: creating, listing and deleting kprobe events (kernel/trace/trace_kprobe.c)."""

import errno

from engine.errors import KernelError
from tracefs.commands import run_commands
from tracefs.context import Context
from tracefs.error_log import ProbeLog
from tracefs.events import Events
from tracefs.fetch_args import MAX_TRACE_ARGS, parse_probe_arg
from tracefs.fetch_insn import ProbeArg
from tracefs.kprobe import KprobeEvent, TraceKprobe, own_size
from tracefs.kprobe_names import DEFAULT_GROUP, parse_event_name, parse_maxactive, parse_place
from tracefs.ktext import argv_split, kstrtol

__all__ = ["KprobeEvents"]

_SUBSYSTEM = "trace_kprobe"
_LIST_WIDTH = 44


class KprobeEvents:
    """The probes in the order they were made. All methods take the context's lock."""

    def __init__(self, context: Context, events: Events) -> None:
        self._context = context
        self._events = events
        self._probes: list[tuple[KprobeEvent, TraceKprobe]] = []

    def text(self) -> bytes:
        """The file kprobe_events."""
        with self._context.lock:
            lines = [self._line(event, probe) for event, probe in self._probes]
        return "".join(lines).encode("latin-1")

    @staticmethod
    def _line(event: KprobeEvent, probe: TraceKprobe) -> str:
        kind = f"r{probe.maxactive or ''}" if probe.is_return else "p"
        words = [f"{kind}:{event.system}/{event.name}", probe.place, *probe.words()]
        return " ".join(words) + "\n"

    def profile(self) -> str:
        """The file kprobe_profile: event, hits, missed hits."""
        with self._context.lock:
            rows = [
                (
                    event.name,
                    probe.probe.nhit if probe.probe else 0,
                    probe.probe.nmissed if probe.probe else 0,
                )
                for event, probe in self._probes
            ]
        return "".join(f"  {name:<{_LIST_WIDTH}} {hits:15} {missed:15}\n" for name, hits, missed in rows)

    def write(self, data: bytes) -> None:
        """One write: several lines, each a definition or a deletion."""
        run_commands(data, self._command)

    def clear(self) -> None:
        """Remove every probe, as opening with O_TRUNC does. EBUSY, and nothing is done, if one is in use."""
        with self._context.lock:
            if any(event.attached for event, _ in self._probes):
                raise KernelError(errno.EBUSY)
            with self._context.machine.probes.batch():
                for event, probe in list(self._probes):
                    self._remove(event, probe)

    def _command(self, line: str) -> None:
        with self._context.lock:
            if line.startswith("-"):
                self.delete(line)
            elif argv := argv_split(line):
                self._create(argv)

    def _create(self, argv: list[str]) -> None:
        """Define a probe. Raises KernelError with the reason in error_log."""
        head = argv[0]
        if head[0] not in "pr" or len(argv) < 2:
            raise KernelError(errno.EINVAL)
        log = ProbeLog(self._context.errors, _SUBSYSTEM, argv)
        is_return = head[0] == "r"
        maxactive = parse_maxactive(log, head, is_return)
        colon = head.find(":", 1)
        place = parse_place(log, argv[1], is_return, self._context.machine.kernel.symbols)
        group, name = DEFAULT_GROUP, None
        if colon >= 0:
            group, name = parse_event_name(log, head[colon + 1 :], colon + 1)
        args: list[ProbeArg] = []
        size = own_size(place.is_return)
        for index, word in enumerate(argv[2 : 2 + MAX_TRACE_ARGS]):
            log.index = index + 2
            args.append(parse_probe_arg(log, word, index, size, args, place.flags))
            size += args[-1].size
        probe = TraceKprobe(
            symbol=place.symbol,
            offset=place.offset,
            address=place.address,
            is_return=place.is_return,
            maxactive=maxactive,
            args=args,
        )
        self._register(log, group, name or place.default_name(), probe)

    def _register(self, log: ProbeLog, group: str, name: str, probe: TraceKprobe) -> None:
        """`register_trace_kprobe`: a new event, or one more probe of an existing one."""
        old = next((e for e, _ in self._probes if e.name == name and e.system == group), None)
        if old is not None:
            self._append(log, old, probe)
            return
        if self._events.find(group, name) is not None:
            log.index = 0
            raise log.error(0, "Given group/event name is already used by another event", errno.EEXIST)
        event = KprobeEvent(self._context, group, name, self._events.allocate_id(), probe)
        try:
            self._attach(log, event, probe)
        except KernelError:
            event.release()
            raise
        self._events.add(event)

    def _append(self, log: ProbeLog, event: KprobeEvent, probe: TraceKprobe) -> None:
        """`append_trace_kprobe`."""
        log.index = 0
        if event.is_return != probe.is_return:
            raise log.error(0, "Probe type is different from existing probe", errno.EEXIST)
        differs = _first_difference(event.probes[0].args, probe.args)
        if differs:
            log.index = differs + 1
            message = "Argument type or name is different from existing probe"
            raise log.error(0, message, errno.EEXIST)
        if any(probe.same(other) for other in event.probes):
            raise log.error(0, "There is already the exact same probe event", errno.EEXIST)
        self._attach(log, event, probe)
        if event.attached and probe.probe is not None:
            probe.probe.enable()

    def _attach(self, log: ProbeLog, event: KprobeEvent, probe: TraceKprobe) -> None:
        """Register with the engine, unless symbol or bare address may be of a module that is not loaded."""
        known = self._context.machine.kernel.symbols
        if probe.symbol is None:
            waits = probe.address != 0 and known.at(probe.address) is None
        else:
            waits = known.lookup(probe.symbol) is None
        log.index = 1
        symbols = {} if waits else self._argument_symbols(log, probe)
        if not waits:
            if probe.is_return and not probe.maxactive:
                probe.maxactive = self._context.machine.probes.default_max_active
            try:
                probe.register(event, symbols)
            except KernelError as error:
                probe.unregister(event)
                raise _register_error(log, error) from error
        event.probes.append(probe)
        self._probes.append((event, probe))

    def _argument_symbols(self, log: ProbeLog, probe: TraceKprobe) -> dict[str, int]:
        """Addresses of the `@SYMBOL`s (`traceprobe_update_arg`). ENOENT, EINVAL."""
        found = {}
        for insn in (insn for arg in probe.args for insn in arg.code if insn.symbol):
            name, sign, number = insn.symbol, "", "0"
            for mark in "+-":
                if mark in name:
                    name, sign, number = *name.partition(mark)[:2], name.partition(mark)[2]
                    break
            try:
                offset = kstrtol(sign + number, 0)
            except KernelError as error:
                raise log.error(0, "Failed to register probe event", error.errno) from None
            symbol = self._context.machine.kernel.symbols.lookup(name)
            if symbol is None:
                raise log.error(0, "Invalid probed address or symbol", errno.ENOENT)
            found[insn.symbol] = symbol.address + offset
        return found

    def delete(self, line: str) -> None:
        """`-:[GROUP/]EVENT [PLACE [ARGS]]` (`dyn_event_release`). EINVAL, ENOENT, EBUSY."""
        argv = argv_split(line)
        if argv[0][1:2] != ":":
            raise KernelError(errno.EINVAL)
        group, slash, name = argv[0][2:].partition("/")
        if not slash:
            group, name = "", group
            if not name:
                raise KernelError(errno.EINVAL)
        matching = [
            (event, probe)
            for event, probe in self._probes
            if name in ("", event.name)
            and (not slash or group == event.system)
            and _matches_command(probe, argv[1:])
        ]
        if not matching:
            raise KernelError(errno.ENOENT)
        for event, probe in matching:
            self._remove(event, probe)

    def _remove(self, event: KprobeEvent, probe: TraceKprobe) -> None:
        """`unregister_trace_kprobe`: EBUSY for the last probe of an event in use.

        With an event that was ever enabled the buffer goes: nothing could name its records any more.
        """
        last = len(event.probes) == 1
        if last and event.attached:
            raise KernelError(errno.EBUSY)
        event.probes.remove(probe)
        self._probes.remove((event, probe))
        probe.unregister(event)
        if last:
            event.removed = True
            self._events.remove(event)
            event.release()
            if event.was_enabled:
                self._context.reset()


def _first_difference(old: list[ProbeArg], new: list[ProbeArg]) -> int:
    """Number from 1 of the first argument that differs, or 0 (`trace_probe_compare_arg_type`)."""
    if len(old) != len(new):
        return min(len(old), len(new)) + 1
    for index, (a, b) in enumerate(zip(old, new, strict=True)):
        if a.type != b.type or a.count != b.count or a.name != b.name:
            return index + 1
    return 0


def _matches_command(probe: TraceKprobe, words: list[str]) -> bool:
    """Whether PLACE and ARGS of a deletion name this probe."""
    if not words:
        return True
    return words[0] == probe.place and words[1:] == probe.words()[: len(words) - 1]


def _register_error(log: ProbeLog, error: KernelError) -> KernelError:
    """The engine's refusal as error_log tells it."""
    if error.errno == errno.EILSEQ:
        return log.error(0, "Probe point is not an instruction boundary", errno.EILSEQ)
    if error.errno == errno.ENOENT:
        return log.error(0, "Invalid probed address or symbol", errno.ENOENT)
    return log.error(0, "Failed to register probe event", error.errno)
