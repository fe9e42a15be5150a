"""Records to lines: who, where and when in front of what the event says (kernel/trace/trace_output.c).

trig-1077    [001] .....    84.908553: c: (do_sys_openat2+0x0/0x170)
"""

from collections.abc import Iterable
from struct import Struct

from tracefs.context import Context
from tracefs.events import Events
from tracefs.trace_buffer import Record

__all__ = ["Output"]

_ENTRY = Struct("<HBBi")
_IRQS_OFF = 0x01
_NEED_RESCHED = 0x04
_HARDIRQ = 0x08
_SOFTIRQ = 0x10
_BH_OFF = 0x80
_MARKS = {1_000_000_000: "$", 100_000_000: "@", 10_000_000: "*", 1_000_000: "#", 100_000: "!", 10_000: "+"}
"""Sign of a delay -> more than so many ns (`trace_mark`)."""


def latency_flags(flags: int, preempt: int) -> str:
    """The five characters of `irq-info` (`trace_print_lat_fmt`)."""
    if not flags and not preempt:
        return "....."
    off = flags & _IRQS_OFF
    irqs = "D" if off and flags & _BH_OFF else "d" if off else "b" if flags & _BH_OFF else "."
    hard, soft = flags & _HARDIRQ, flags & _SOFTIRQ
    depth = "H" if hard and soft else "h" if hard else "s" if soft else "."
    resched = "N" if flags & _NEED_RESCHED else "."
    count = f"{preempt & 15:x}" if preempt & 15 else "."
    migrate = f"{preempt >> 4:x}" if preempt >> 4 else "."
    return irqs + resched + depth + count + migrate


class Output:
    """Renders records by the options as they are at the time of rendering."""

    def __init__(self, context: Context, events: Events) -> None:
        self._context = context
        self._events = events

    def lines(self, records: Iterable[Record]) -> str:
        """The text of `records`, each with its newline, lost events told before them."""
        options = self._context.options
        if options["bin"] or options["hex"] or options["raw"]:
            return "".join(self._plain(record) for record in records)
        if options["latency-format"]:
            return "".join(self._lost(record) + self._latency(record, None, None) for record in records)
        return self._default(records)

    def _default(self, records: Iterable[Record]) -> str:
        """The ordinary format, with everything that stays the same made once."""
        in_ns = self._context.clock.in_ns
        heads: dict[tuple[int, int, int, int], str] = {}
        seconds, shown_seconds = -1, ""
        unpack, find = _ENTRY.unpack_from, self._events.by_id.get
        text = []
        for cpu, time_ns, lost, data in records:
            if lost:
                text.append(f"CPU:{cpu} [LOST {lost} EVENTS]\n")
            kind, flags, preempt, pid = unpack(data)
            event = find(kind)
            body = event.formatter(data) if event is not None else f"Unknown type {kind}\n"
            key = (pid, cpu, flags, preempt)
            head = heads.get(key)
            if head is None:
                head = heads[key] = self._head(*key)
            if not head:
                text.append(body)
            elif in_ns:
                micros = time_ns // 1000
                if micros // 1_000_000 != seconds:
                    seconds = micros // 1_000_000
                    shown_seconds = f"{seconds:5}."
                text.append(f"{head}{shown_seconds}{micros % 1_000_000:06}: {body}")
            else:
                text.append(f"{head}{time_ns:12}: {body}")
        return "".join(text)

    def _head(self, pid: int, cpu: int, flags: int, preempt: int) -> str:
        """What stands before the time stamp; nothing without option context-info (`trace_print_context`)."""
        options, names = self._context.options, self._context.cmdlines
        if not options["context-info"]:
            return ""
        head = f"{names.find(pid).decode('latin-1'):>16}-{pid:<7} "
        if options["record-tgid"]:
            group = names.find_tgid(pid)
            head += f"({group:7}) " if group else "(-------) "
        irqs = (latency_flags(flags, preempt) + " ") if options["irq-info"] else " "
        return f"{head}[{cpu:03}] {irqs}"

    @staticmethod
    def _lost(record: Record) -> str:
        return f"CPU:{record[0]} [LOST {record[2]} EVENTS]\n" if record[2] else ""

    def _plain(self, record: Record) -> str:
        """Options raw, hex and bin: pid, CPU and time, without or with separators; bytes for bin."""
        cpu, time_ns, _, data = record
        kind, _, _, pid = _ENTRY.unpack_from(data)
        options = self._context.options
        text = self._lost(record)
        if options["bin"]:
            head = pid.to_bytes(4, "little") + cpu.to_bytes(4, "little") + time_ns.to_bytes(8, "little")
            text += head.decode("latin-1")
        elif options["raw"]:
            text += f"{pid} {cpu} {time_ns} "
        else:
            text += f"{pid:08x} {cpu:08x} {time_ns:016x} "
        return f"{text}type: {kind}\n" if options["context-info"] or not options["bin"] else text

    def latency(self, records: list[Record], start_ns: int) -> str:
        """The file `trace` with option latency-format: times since `start_ns` and to the next record."""
        text = []
        for index, record in enumerate(records):
            following = records[index + 1][1] if index + 1 < len(records) else None
            text.append(self._lost(record) + self._latency(record, start_ns, following))
        return "".join(text)

    def _latency(self, record: Record, start_ns: int | None, following: int | None) -> str:
        """One line of latency-format (`trace_print_lat_context`)."""
        cpu, time_ns, _, data = record
        kind, flags, preempt, pid = _ENTRY.unpack_from(data)
        comm = self._context.cmdlines.find(pid).decode("latin-1")
        ahead = (following if following is not None else time_ns) - time_ns
        since = (time_ns - (start_ns if start_ns is not None else time_ns)) // 1000
        mark = next((sign for limit, sign in _MARKS.items() if ahead > limit), " ")
        head = f"{comm:>8.8}-{pid:<7} {cpu:3}{latency_flags(flags, preempt)} {since:4}us{mark}: "
        event = self._events.by_id.get(kind)
        return head + (f"Unknown type {kind}\n" if event is None else event.formatter(data))
