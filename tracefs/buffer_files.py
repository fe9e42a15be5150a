"""Files that size, stop and describe the buffer: tracing_on, buffer_size_kb, stats, trace_clock ..."""

import errno

from engine.errors import KernelError
from tracefs.clocks import CLOCKS
from tracefs.context import Context
from tracefs.ktext import c_string, kstrtoul_from_user
from tracefs.trace_buffer import BOOT_SIZE, DEFAULT_SIZE

__all__ = ["BufferFiles"]

_CLOCK_LONGEST = 63
_TRACER_LONGEST = 100


def _seconds(time_ns: int) -> str:
    micros = time_ns // 1000
    return f"{micros // 1_000_000:5}.{micros % 1_000_000:06}"


class BufferFiles:
    """The show and store functions of these files; `cpu` is None for what concerns all CPUs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._cpus_off: set[int] = set()

    def tracing_on(self) -> str:
        """Whether recording is on."""
        return f"{int(self._context.buffer.recording)}\n"

    def store_tracing_on(self, data: bytes) -> None:
        """Any number but 0 switches recording on. EINVAL, ERANGE."""
        self._context.set_recording(bool(kstrtoul_from_user(data)))

    def buffer_size_kb(self, cpu: int | None = None) -> str:
        """Size per CPU; X when CPUs differ; what it will be once something is traced in parentheses."""
        buffer = self._context.buffer
        if cpu is not None:
            return f"{buffer.size(cpu) >> 10}\n"
        sizes = {buffer.size(each) for each in range(buffer.nr_cpus)}
        if len(sizes) > 1:
            return "X\n"
        shown = f"{sizes.pop() >> 10}"
        return f"{shown}\n" if self._context.expanded else f"{shown} (expanded: {DEFAULT_SIZE >> 10})\n"

    def store_buffer_size_kb(self, data: bytes, cpu: int | None = None) -> None:
        """Resize. EINVAL, ERANGE, ENOMEM."""
        size = kstrtoul_from_user(data)
        if not size:
            raise KernelError(errno.EINVAL)
        context = self._context
        first, last = context.buffer.span(cpu)
        with context.lock:
            context.expanded = True
            for each in range(first, last):
                context.buffer.resize(each, size << 10)

    def buffer_total_size_kb(self) -> str:
        """Sum over CPUs."""
        buffer = self._context.buffer
        total = sum(buffer.size(cpu) >> 10 for cpu in range(buffer.nr_cpus))
        if self._context.expanded:
            return f"{total}\n"
        return f"{total} (expanded: {(DEFAULT_SIZE >> 10) * buffer.nr_cpus})\n"

    def free_buffer(self) -> None:
        """free_buffer was closed: shrink to the least, and stop if option disable_on_free says so."""
        context = self._context
        with context.lock:
            if context.options["disable_on_free"]:
                context.set_recording(False)
            for cpu in range(context.buffer.nr_cpus):
                context.buffer.resize(cpu, BOOT_SIZE)

    def stats(self, cpu: int) -> str:
        """per_cpu/cpuN/stats."""
        context = self._context
        counters = context.buffer.counters(cpu)
        oldest, now = counters.oldest_ns, context.now()
        in_ns = context.clock.in_ns
        return (
            f"entries: {counters.entries}\n"
            f"overrun: {counters.overrun}\n"
            f"commit overrun: {counters.commit_overrun}\n"
            f"bytes: {counters.bytes}\n"
            f"oldest event ts: {_seconds(oldest) if in_ns else oldest}\n"
            f"now ts: {_seconds(now) if in_ns else now}\n"
            f"dropped events: {counters.dropped}\n"
            f"read events: {counters.read}\n"
        )

    def trace_clock(self) -> str:
        """All clocks, the current one in brackets."""
        current = self._context.clock.name
        return " ".join(f"[{c.name}]" if c.name == current else c.name for c in CLOCKS) + "\n"

    def store_trace_clock(self, data: bytes) -> None:
        """Choose a clock; the buffer is emptied. EINVAL."""
        name = c_string(data[:_CLOCK_LONGEST]).strip()
        for clock in CLOCKS:
            if clock.name == name and len(data) <= _CLOCK_LONGEST:
                self._context.set_clock(clock)
                return
        raise KernelError(errno.EINVAL)

    def tracing_cpumask(self) -> str:
        """The CPUs that are traced, in hexadecimal words of 32."""
        number = self._context.buffer.nr_cpus
        mask = sum(1 << cpu for cpu in range(number) if cpu not in self._cpus_off)
        words: list[str] = []
        for low in range(0, number, 32):
            digits = min(32, number - low) + 3 >> 2
            words.insert(0, f"{mask >> low & 0xFFFFFFFF:0{digits}x}")
        return ",".join(words) + "\n"

    def store_tracing_cpumask(self, data: bytes) -> None:
        """Set the mask. EINVAL for what is no mask, EOVERFLOW for CPUs that do not exist."""
        text = c_string(data).strip()
        mask = 0
        for word in text.split(",") if text else []:
            if not word or not all(char in "0123456789abcdefABCDEF" for char in word):
                raise KernelError(errno.EINVAL)
            if len(word) > 8:
                raise KernelError(errno.EOVERFLOW)
            mask = mask << 32 | int(word, 16)
        number = self._context.buffer.nr_cpus
        if mask >> number:
            raise KernelError(errno.EOVERFLOW)
        with self._context.lock:
            self._cpus_off = {cpu for cpu in range(number) if not mask >> cpu & 1}
            for cpu in range(number):
                self._context.buffer.set_cpu_disabled(cpu, cpu in self._cpus_off)

    def saved_cmdlines(self) -> bytes:
        """Thread id and name of each saved thread."""
        return b"".join(b"%d %s\n" % row for row in self._context.cmdlines.saved())

    def saved_tgids(self) -> str:
        """Thread id and thread-group id of each thread seen while option record-tgid was on."""
        return "".join(f"{tid} {tgid}\n" for tid, tgid in self._context.cmdlines.saved_tgids())

    def saved_cmdlines_size(self) -> str:
        """How many names are kept."""
        return f"{self._context.cmdlines.number}\n"

    def store_saved_cmdlines_size(self, data: bytes) -> None:
        """Keep more names or fewer. EINVAL, ERANGE."""
        self._context.cmdlines.resize(kstrtoul_from_user(data))

    @staticmethod
    def store_current_tracer(data: bytes) -> None:
        """Only tracer nop is there. EINVAL."""
        if c_string(data[:_TRACER_LONGEST]).strip() != "nop":
            raise KernelError(errno.EINVAL)
