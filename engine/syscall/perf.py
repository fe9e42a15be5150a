"""perf_event_open(2) for the events that the engine has (kernel/events/core.c).

attr  +0 type +4 size +8 config +16 sample_period +24 sample_type +32 read_format +40 flags u64
      +48 wakeup +52 bp_type +56 config1 +64 config2 ... 136 bytes
flags bit 0 disabled, bit 14 watermark, bits 38 and up reserved
"""

import errno
import os
import struct

from engine.errors import KernelError
from engine.machine import Machine
from engine.memory import PAGE_SIZE
from engine.perf.event import BpfOutputEvent, PerfEvent, PerfEventAttr
from engine.perf.kprobe import KPROBE_PMU, KprobeEvent
from engine.syscall.caller import BpfCaller, BpfFile

__all__ = ["PERF_ATTR_SIZE", "perf_event_open", "read_perf_attr"]

PERF_ATTR_SIZE = 136
"""sizeof(struct perf_event_attr)."""
_VER0 = 64
_SOFTWARE, _BPF_OUTPUT = 1, 10
_DISABLED, _WATERMARK = 1 << 0, 1 << 14
_RESERVED_FLAGS = ~((1 << 38) - 1)
_SAMPLE_TYPES = (1 << 25) - 1
_READ_FORMATS = (1 << 5) - 1
_MAX_NAME = 128
_OPEN_FLAGS = 0xF
_PID_CGROUP = 1 << 2


def read_perf_attr(caller: BpfCaller, address: int) -> PerfEventAttr:
    """`perf_copy_attr`. E2BIG (and the right size written back) for a size that cannot be; EINVAL."""
    (size,) = struct.unpack("<I", caller.memory.read(address + 4, 4))
    size = size or _VER0
    data = caller.memory.read(address, size) if _VER0 <= size <= PAGE_SIZE else b""
    if not data or any(data[PERF_ATTR_SIZE:]):
        caller.memory.write(address + 4, struct.pack("<I", PERF_ATTR_SIZE))
        raise KernelError(errno.E2BIG, f"perf_event_attr of {size} bytes")
    known = data[:PERF_ATTR_SIZE].ljust(PERF_ATTR_SIZE, b"\0")
    kind, _, config, period, sample_type, read_format, flags, wakeup = struct.unpack_from("<IIQQQQQI", known)
    config1, config2 = struct.unpack_from("<QQ", known, 56)
    if flags & _RESERVED_FLAGS or sample_type & ~_SAMPLE_TYPES or read_format & ~_READ_FORMATS:
        raise KernelError(errno.EINVAL, "reserved bits of perf_event_attr")
    return PerfEventAttr(
        kind,
        config,
        sample_type,
        period,
        read_format,
        bool(flags & _DISABLED),
        bool(flags & _WATERMARK),
        wakeup,
        config1,
        config2,
    )


def _kprobe(machine: Machine, caller: BpfCaller, attr: PerfEventAttr) -> PerfEvent:
    """`perf_kprobe_init`: config1 is the address of a name and config2 an offset, or 0 and an address."""
    if not attr.config1:
        return KprobeEvent(machine, attr, None, attr.config2, 0)
    name = caller.read_text(attr.config1, _MAX_NAME)
    if not name:
        raise KernelError(errno.EINVAL, "empty name of a function")
    return KprobeEvent(machine, attr, name, 0, attr.config2)


def perf_event_open(
    machine: Machine, caller: BpfCaller, attr: int, pid: int, cpu: int, group_fd: int, flags: int
) -> int:
    """A descriptor of a new event. ENOENT: no such type or config; E2BIG, EINVAL, EBADF, ESRCH."""
    if flags & ~_OPEN_FLAGS:
        raise KernelError(errno.EINVAL, f"bad flags {flags:#x}")
    wanted = read_perf_attr(caller, attr)
    grouped = bool(flags & _PID_CGROUP)
    if grouped and -1 in (pid, cpu):
        raise KernelError(errno.EINVAL, "control groups are counted on a CPU")
    if group_fd != -1:
        leader = caller.fds.get(group_fd).object if group_fd >= 0 else None
        number = errno.EINVAL if isinstance(leader, PerfEvent) else errno.EBADF
        raise KernelError(number, "events are not grouped")
    if not grouped and (pid < -1 or (pid > 0 and not os.path.exists(f"/proc/{pid}"))):
        raise KernelError(errno.ESRCH, f"no process {pid}")
    if cpu >= machine.nr_cpus or cpu < -1 or (cpu == -1 and pid == -1):
        raise KernelError(errno.EINVAL, f"no CPU {cpu}")
    if grouped:
        raise KernelError(errno.EBADF, "not a control group")
    event: PerfEvent
    match wanted.type, wanted.config:
        case (kind, config) if (kind, config) == (_SOFTWARE, _BPF_OUTPUT):
            event = BpfOutputEvent(wanted, max(cpu, 0))
        case (kind, _) if kind == KPROBE_PMU:
            event = _kprobe(machine, caller, wanted)
        case _:
            raise KernelError(errno.ENOENT, f"no event of type {wanted.type} config {wanted.config:#x}")
    return caller.fds.install(BpfFile(event))
