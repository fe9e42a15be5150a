"""The two structs that native code shares: the machine's control block and the environment of a runner.

There is one control block per machine. Every thread that fires probes or runs programs (the tracer, the
executor, a test run) is a runner and owns one environment, which tells the current hit: who, when,
where. Both are plain memory; the enums are byte offsets.

    env   +0  TIME_NS  +8 CPU|FLAGS  +16 TID|TGID  +24 UID|GID  +32 COMM[16]  +48 MEM_TID  +56 FUNC
          +64 RET_IP   +72 TASK      +80 CTL       +88 TAIL_CALLS ...                     1024 bytes
"""

import ctypes
from enum import IntEnum, unique

__all__ = [
    "CTL_SIZE",
    "ENV_SIZE",
    "RUN_LOCK_STRIDE",
    "SCRATCH_SIZE",
    "TASK_COMM_LEN",
    "Ctl",
    "Env",
    "peek32",
    "peek64",
    "poke32",
    "poke64",
]

ENV_SIZE = 1024
CTL_SIZE = 512
SCRATCH_SIZE = 64 * 1024
"""Bytes of the private staging buffer that `Env.SCRATCH` points to."""
TASK_COMM_LEN = 16
"""Bytes of a task's name with its NUL (include/linux/sched.h)."""
RUN_LOCK_STRIDE = 64
"""Bytes from one CPU's run lock to the next: a cache line each."""


@unique
class Env(IntEnum):
    """Offsets in a runner's environment."""

    TIME_NS = 0
    """u64, CLOCK_MONOTONIC of the hit."""
    CPU = 8
    """u32, the CPU that the hit is accounted to; always below `Ctl.NR_CPUS`."""
    FLAGS = 12
    """u32, irq and preemption flags of the record; 0 for everything that comes from a system call."""
    TID = 16
    """u32, what the kernel calls pid."""
    TGID = 20
    UID = 24
    GID = 28
    COMM = 32
    """16 bytes, NUL-padded."""
    MEM_TID = 48
    """u64, thread whose user memory process_vm_readv may read; 0: none, user reads give -EFAULT."""
    FUNC = 56
    """u64, address of the probed function."""
    RET_IP = 64
    """u64, return address; set for return probes."""
    TASK = 72
    """u64, kernel alias of the current task_struct; 0: none."""
    CTL = 80
    """u64, host address of the control block."""
    TAIL_CALLS = 88
    PROG = 96
    """u64, header of the running program."""
    COOKIE = 104
    """u64, attach cookie of the running program's link."""
    REGS = 112
    """u64, host address of the pt_regs of this hit."""
    SCRATCH = 120
    """u64, private staging buffer of SCRATCH_SIZE bytes."""
    EPOCH_SLOT = 128
    """u64, see `engine.epoch`."""
    START_NS = 136
    """u64, start time of the task, CLOCK_MONOTONIC."""
    NSPID = 144
    """u32, thread id as the tracee itself sees it, then u32 thread-group id."""
    NSTGID = 148
    IN_HIT = 152
    """u64, not 0 while a probe's handlers run in this runner (`kprobe_running`)."""
    RECORD_SIZE = 160
    """u64, bytes of the tracepoint record that a handler is called with."""
    PRANDOM = 168
    """u64, state of bpf_get_prandom_u32; 0: seeded at first use."""
    LIGHT = 176
    """u64, not 0: nobody follows pointers of this hit, so kernel objects need not be filled."""
    CALL_ARGS = 184
    """u64, at a return: host address of the six words that the function was called with."""
    READER = 192
    """u64, host address of the runner's reader of user memory, see `engine.usermem`; 0: none."""
    PRIVATE = 256
    """256 bytes for the owner of the runner."""
    RESERVED = 512
    """u64 count, then 31 pairs of (record, map): ring buffer records that the program has reserved."""


@unique
class Ctl(IntEnum):
    """Offsets in the control block."""

    NR_CPUS = 0
    """u32, possible CPUs: 0 .. NR_CPUS - 1."""
    KERNEL_ARENA = 8
    """u64, host address of the region that modelled kernel objects live in."""
    KERNEL_ARENA_SIZE = 16
    WAKE_FD = 24
    """s64, eventfd that wakes Python when a ring has something for a parked reader."""
    PRINTK_FN = 32
    """u64, native fn(priv, env, text, len) of bpf_trace_printk, or 0."""
    PRINTK_PRIV = 40
    EPOCH = 48
    """u64, the global epoch, see `engine.epoch`."""
    ENTRY_SITES = 64
    """u64, table of what each system call and process event fires, see `engine.probes.sites`; 0: nothing."""
    EXIT_SITES = 72
    """u64, not 0 when a system call's return can fire anything by itself."""
    ARMED = 80
    """u64, 0: nothing needs system-call stops."""
    RUN_LOCKS = 88
    """u64, array of u32 spin locks, one per CPU, RUN_LOCK_STRIDE bytes apart."""
    STATS_ENABLED = 96
    """u64, not 0: programs count run_cnt and run_time_ns (kernel.bpf_stats_enabled)."""
    TASKS = 104
    """u64, host address of the task slot allocator, see `engine.kernel.tasks`."""
    EVENTS = 112
    """u64, not 0 when a process event (fork, exec, exit, rename) fires anything."""
    SYMBOLS = 120
    """u64, host address of the symbol table, see `engine.kernel.symtab`; 0: none."""


def peek64(address: int) -> int:
    """The u64 at a host address."""
    return ctypes.c_uint64.from_address(address).value


def poke64(address: int, value: int) -> None:
    """Store a u64; not a barrier (publication goes through `engine.epoch.publish`)."""
    ctypes.c_uint64.from_address(address).value = value & (1 << 64) - 1


def peek32(address: int) -> int:
    """The u32 at a host address."""
    return ctypes.c_uint32.from_address(address).value


def poke32(address: int, value: int) -> None:
    """Store a u32."""
    ctypes.c_uint32.from_address(address).value = value & (1 << 32) - 1
