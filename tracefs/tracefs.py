"""The tree of tracefs: one table a directory, name -> node, modes as on Linux."""

import errno
from collections.abc import Callable
from functools import partial

from engine.abi.bpf import FuncId
from engine.env import Ctl, poke64
from engine.errors import KernelError
from engine.isa import Class, Jmp, PseudoSrc
from engine.kernfs import Caller, Dir, File, Handle, Node, StaticDir, TextFile
from engine.machine import Machine
from engine.progs import Prog
from tracefs.buffer_files import BufferFiles
from tracefs.context import Context
from tracefs.event import TraceEvent
from tracefs.event_files import EventsDir
from tracefs.events import Events
from tracefs.kprobe_events import KprobeEvents
from tracefs.ktext import kstrtoul_from_user
from tracefs.markers import MarkerFile, MarkerWriter, printk_hit, static_events
from tracefs.options import DEFAULTS, Options
from tracefs.output import Output
from tracefs.pids import EventFork, PidList
from tracefs.readme import README
from tracefs.ring_layout import Buf
from tracefs.set_event import SetEvent, available_events
from tracefs.trace_file import TraceFile
from tracefs.trace_pipe import TracePipe
from tracefs.tracepoint import add_tracepoints
from tracefs.triggers import Triggers

__all__ = ["Tracefs"]


class _FreeBufferHandle(Handle):
    def __init__(self, free: Callable[[], None]) -> None:
        self._free = free

    def write(self, offset: int, data: bytes) -> int:
        """Writing does nothing; closing does it."""
        return len(data)

    def release(self) -> None:
        """Free the buffer."""
        self._free()


class _FreeBuffer(File):
    """free_buffer: closing it shrinks the buffer."""

    def __init__(self, mode: int, free: Callable[[], None]) -> None:
        super().__init__(mode)
        self._free = free

    def open(self, flags: int, caller: Caller) -> Handle:
        """Open it; content does not matter."""
        return _FreeBufferHandle(self._free)


class Tracefs:
    """tracefs over a machine: `root` is its directory, `wake` passes the wake-ups on, `close` ends it.

    A program that may call bpf_trace_printk switches that event on when it is loaded, as in the kernel.
    """

    def __init__(self, machine: Machine) -> None:
        self.context = Context.create(machine)
        self.events = Events()
        self._printk = static_events(self.context, self.events)
        add_tracepoints(self.context, self.events)
        self.kprobes = KprobeEvents(self.context, self.events)
        self._pids = (PidList(self.context, Buf.PIDS), PidList(self.context, Buf.NOTRACE_PIDS))
        self.triggers = Triggers(self.events)
        self._markers = MarkerWriter(self.context)
        self._output = Output(self.context, self.events)
        options = self.context.options
        options.on_change("overwrite", self.context.buffer.set_overwrite)
        options.on_change("record-cmd", self.context.cmdlines.set_on)
        options.on_change("record-tgid", self.context.cmdlines.set_tgid_on)
        options.on_change("event-fork", EventFork(self.context).switch)
        poke64(machine.ctl + Ctl.PRINTK_PRIV, self._printk.address)
        poke64(machine.ctl + Ctl.PRINTK_FN, printk_hit.address)
        machine.progs.on_add.append(self._loaded)
        self.root: Dir = self._tree()

    def wake(self) -> None:
        """The machine's eventfd was written: tell waiting readers."""
        self.context.waiting.wake()

    def _loaded(self, prog: Prog) -> None:
        """A program was loaded (`bpf_get_trace_printk_proto`)."""
        calls = (insn for insn in prog.insns if insn.code == Class.JMP | Jmp.CALL)
        helpers = {insn.imm for insn in calls if insn.src == PseudoSrc.CALL_HELPER}
        if helpers & {FuncId.trace_printk, FuncId.trace_vprintk}:
            self._printk.set_enabled(True)

    def close(self) -> None:
        """Let go of the machine: probes, sinks, memory. Nothing may be read or written any more."""
        machine = self.context.machine
        machine.progs.on_add.remove(self._loaded)
        poke64(machine.ctl + Ctl.PRINTK_FN, 0)
        self.context.options.set("event-fork", False)
        self.triggers.remove_all()
        for event in self.events.all():
            if event.can_enable:
                event.set_enabled(False)
        self.kprobes.clear()
        machine.epoch.poll()
        for pids in self._pids:
            pids.close()
        self.context.close()

    def _tree(self) -> Dir:
        """The top directory."""
        context, kprobes = self.context, self.kprobes
        pids, notrace = self._pids
        buffer = BufferFiles(context)
        errors = context.errors
        functions = "".join(f"{name}\n" for name in context.machine.kernel.available_filter_functions())
        dynamic = TextFile(0o640, kprobes.text, kprobes.write, truncated=kprobes.clear)
        return StaticDir(
            0o700,
            {
                "README": TextFile(0o440, lambda: README),
                "available_events": TextFile(0o440, lambda: available_events(self.events)),
                "available_filter_functions": TextFile(0o440, lambda: functions),
                "available_tracers": TextFile(0o440, lambda: "nop\n"),
                "buffer_size_kb": TextFile(0o640, buffer.buffer_size_kb, buffer.store_buffer_size_kb),
                "buffer_total_size_kb": TextFile(0o440, buffer.buffer_total_size_kb),
                "current_tracer": TextFile(0o640, lambda: "nop\n", buffer.store_current_tracer),
                "dynamic_events": dynamic,
                "error_log": TextFile(0o640, errors.text, lambda data: None, truncated=errors.clear),
                "events": EventsDir(self.events, self._event_files),
                "free_buffer": _FreeBuffer(0o200, buffer.free_buffer),
                "kprobe_events": TextFile(0o640, kprobes.text, kprobes.write, truncated=kprobes.clear),
                "kprobe_profile": TextFile(0o440, kprobes.profile),
                "options": StaticDir(0o750, _option_files(context.options)),
                "per_cpu": StaticDir(0o750, self._per_cpu(buffer)),
                "saved_cmdlines": TextFile(0o440, buffer.saved_cmdlines),
                "saved_cmdlines_size": TextFile(
                    0o640, buffer.saved_cmdlines_size, buffer.store_saved_cmdlines_size
                ),
                "saved_tgids": TextFile(0o440, buffer.saved_tgids),
                "set_event": SetEvent(0o640, context, self.events),
                "set_event_notrace_pid": TextFile(
                    0o640, notrace.text, notrace.store, truncated=notrace.clear
                ),
                "set_event_pid": TextFile(0o640, pids.text, pids.store, truncated=pids.clear),
                "timestamp_mode": TextFile(0o440, lambda: "[delta] absolute\n"),
                "trace": TraceFile(0o640, context, self._output),
                "trace_clock": TextFile(0o640, buffer.trace_clock, buffer.store_trace_clock),
                "trace_marker": MarkerFile(0o220, context, self._markers),
                "trace_marker_raw": MarkerFile(0o220, context, self._markers, raw=True),
                "trace_options": TextFile(0o640, context.options.text, context.options.store),
                "trace_pipe": TracePipe(0o440, context, self._output),
                "tracing_cpumask": TextFile(0o640, buffer.tracing_cpumask, buffer.store_tracing_cpumask),
                "tracing_on": TextFile(0o640, buffer.tracing_on, buffer.store_tracing_on),
            },
        )

    def _per_cpu(self, files: BufferFiles) -> dict[str, Node]:
        return {f"cpu{cpu}": self._cpu_dir(files, cpu) for cpu in range(self.context.buffer.nr_cpus)}

    def _cpu_dir(self, files: BufferFiles, cpu: int) -> Dir:
        """per_cpu/cpuN."""
        context = self.context
        return StaticDir(
            0o750,
            {
                "buffer_size_kb": TextFile(
                    0o640, partial(files.buffer_size_kb, cpu), partial(files.store_buffer_size_kb, cpu=cpu)
                ),
                "stats": TextFile(0o440, partial(files.stats, cpu)),
                "trace": TraceFile(0o640, context, self._output, cpu),
                "trace_pipe": TracePipe(0o440, context, self._output, cpu),
            },
        )

    def _event_files(self, event: TraceEvent) -> dict[str, Node]:
        """What an event has besides enable, filter, format and id."""
        triggers = self.triggers
        return {"trigger": TextFile(0o640, partial(triggers.text, event), partial(triggers.store, event))}


def _option_files(options: Options) -> dict[str, Node]:
    """options/: one file a flag, 0 or 1."""

    def show(name: str) -> str:
        return f"{int(options[name])}\n"

    def store(name: str, data: bytes) -> None:
        value = kstrtoul_from_user(data)
        if value > 1:
            raise KernelError(errno.EINVAL)
        options.set(name, bool(value))

    return {name: TextFile(0o640, partial(show, name), partial(store, name)) for name in sorted(DEFAULTS)}
