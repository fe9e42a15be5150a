"""What a hit knows of its thread: ids, name, user, CPU, as the thread itself sees them."""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from engine.abi.syscalls import NR
from engine.env import ENV_SIZE, Ctl, Env, peek64, poke64
from engine.jit.lang import memcpy, native, put64, u64
from engine.kernel.layout import ALIAS, Slot, Task
from engine.machine import Machine
from engine.tracees import Handlers, Tracer
from engine.tracees.ptrace import UserRegs
from engine.tracees.state import St
from tests.engine.tracees.conftest import Build, Gated

KEEP = 64
GETPPID = NR["getppid"]


@native
def want_getppid(env: int, nr: int) -> int:
    """Only getppid."""
    return nr == GETPPID


@native
def keep_env(env: int, regs: int) -> int:
    """Copy the environment, and where its task is, to the block at Env.PRIVATE: count, copies."""
    block = u64(env + Env.PRIVATE)
    count = u64(block)
    if u64(regs + UserRegs.ORIG_AX) == GETPPID and count < KEEP:
        memcpy(block + 8 + count * ENV_SIZE, env, ENV_SIZE)
        task = u64(env + Env.TASK) - ALIAS
        put64(block + 8 + count * ENV_SIZE + Env.COOKIE, u64(task + Task.PID))
        put64(block + 8 + count * ENV_SIZE + Env.PROG, u64(task + Slot.CRED + 4))
        put64(block, count + 1)
    return 0


@native
def nothing(env: int, regs: int, retval: int) -> int:
    """No return is wanted."""
    return 0


@dataclass(frozen=True)
class Hit:
    """One environment."""

    raw: bytes

    def u32(self, offset: int) -> int:
        """A field."""
        return int.from_bytes(self.raw[offset : offset + 4], "little")

    @property
    def comm(self) -> str:
        """The name."""
        return self.raw[Env.COMM : Env.COMM + 16].rstrip(b"\0").decode()


class Observer:
    """A tracer that keeps the environment of each getppid."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.tracer = Tracer(self.machine, Handlers(want_getppid, keep_env, nothing))
        self._block = self.machine.heap.alloc(8 + KEEP * ENV_SIZE)
        self.tracer.start()
        poke64(peek64(self.tracer.state + St.ENV) + Env.PRIVATE, self._block)
        poke64(self.machine.ctl + Ctl.ARMED, 1)

    def hits(self) -> list[Hit]:
        """What was kept, in order."""
        start = self._block + 8
        return [Hit(ctypes.string_at(start + i * ENV_SIZE, ENV_SIZE)) for i in range(peek64(self._block))]


@pytest.fixture
def observer() -> Iterator[Observer]:
    """Running and armed."""
    observing = Observer()
    yield observing
    observing.tracer.stop()
    observing.machine.close()


def test_identity(observer: Observer, build: Build, start: Callable[..., Gated]) -> None:
    gated = start(build("who"))
    observer.tracer.attach(gated.pid)
    gated.open()
    status, out = gated.finish()
    assert status == 0
    said = [line.split(" ", 3) for line in out.splitlines()]
    hits = observer.hits()
    assert len(hits) == len(said) >= 8
    times = [int.from_bytes(hit.raw[:8], "little") for hit in hits]
    assert times == sorted(times)
    for hit, (tid, tgid, uid, rest) in zip(hits, said, strict=True):
        comm, _, cpu = rest.rpartition(" ")
        assert (hit.u32(Env.TID), hit.u32(Env.TGID), hit.u32(Env.UID)) == (int(tid), int(tgid), int(uid))
        assert hit.comm == comm
        assert hit.u32(Env.MEM_TID) == int(tid)
        assert (hit.u32(Env.NSPID), hit.u32(Env.NSTGID)) == (int(tid), int(tgid))
        assert (hit.u32(Env.COOKIE), hit.u32(Env.COOKIE + 4)) == (int(tid), int(tgid))
        assert hit.u32(Env.PROG) == int(uid)
        if cpu != "-1":
            assert hit.u32(Env.CPU) == int(cpu)
    assert {hit.comm for hit in hits} == {"who", "renamed (x) y", "a thread"}
