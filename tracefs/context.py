"""What all parts of one tracefs share: machine, buffer, names, options, error log, symbols, one lock."""

import threading
from dataclasses import dataclass, field

from engine.env import poke32
from engine.kernfs import WaitQueue
from engine.machine import Machine
from tracefs.clocks import CLOCKS, TraceClock, current_time
from tracefs.cmdlines import Cmdlines
from tracefs.error_log import ErrorLog
from tracefs.options import Options
from tracefs.ring_layout import Buf
from tracefs.symbols import SymbolNames
from tracefs.trace_buffer import BOOT_SIZE, DEFAULT_SIZE, TraceBuffer

__all__ = ["Context"]


@dataclass
class Context:
    """One trace array (`struct trace_array`). `lock` serialises everything that changes it (event_mutex)."""

    machine: Machine
    buffer: TraceBuffer
    cmdlines: Cmdlines
    errors: ErrorLog
    symbols: SymbolNames
    options: Options = field(default_factory=Options)
    lock: threading.RLock = field(default_factory=threading.RLock)
    waiting: WaitQueue = field(default_factory=WaitQueue)
    """Readers that wait for records."""
    clock: TraceClock = CLOCKS[0]
    start_ns: int = 0
    """Time of the last reset, by the trace clock."""
    piped: set[int] = field(default_factory=set)
    """CPUs whose trace_pipe is open."""
    expanded: bool = False
    """Whether the rings have their full size: they are small until something is traced."""

    @classmethod
    def create(cls, machine: Machine) -> "Context":
        """The parts of a new tracefs over `machine`."""
        return cls(
            machine=machine,
            buffer=TraceBuffer(machine, [BOOT_SIZE] * machine.nr_cpus),
            cmdlines=Cmdlines(),
            errors=ErrorLog(machine.clock),
            symbols=SymbolNames(machine.kernel.symbols),
        )

    def expand(self) -> None:
        """Give the rings their full size when something is about to be traced (`tracing_update_buffers`)."""
        with self.lock:
            if not self.expanded:
                self.expanded = True
                for cpu in range(self.buffer.nr_cpus):
                    self.buffer.resize(cpu, DEFAULT_SIZE)

    def set_recording(self, on: bool) -> None:
        """tracing_on. A reader that has read something stops waiting when recording ends."""
        self.buffer.recording = on
        if not on:
            self.waiting.wake()

    def reset(self, cpu: int | None = None) -> None:
        """Empty one ring or all."""
        with self.lock:
            self.buffer.reset(cpu)
            if cpu is None:
                self.start_ns = self.now()

    def set_clock(self, clock: TraceClock) -> None:
        """trace_clock: what was recorded by another clock is dropped."""
        with self.lock:
            self.clock = clock
            poke32(self.buffer.address + Buf.CLOCK, clock.id)
            self.reset()

    def now(self) -> int:
        """Time now, by the trace clock."""
        return current_time(self.buffer.address, self.machine.clock.now_ns())

    def close(self) -> None:
        """Give the memory back."""
        self.buffer.close()
        self.cmdlines.close()
