"""A machine, a synthetic thread, and a recorder whose probes write down what they are called with."""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from engine.env import Env, peek32, peek64
from engine.machine import Machine
from engine.memory import host_ptr
from engine.probes import Probe
from engine.probes.driver import Driver
from engine.probes.regs import PT_REGS_SIZE, Reg

_Handler = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64)


@dataclass
class Hit:
    """One call of a handler: which probe, where, the registers or the record."""

    label: str
    function: str
    ret_ip: str
    data: bytes
    stack0: int = 0
    env: dict[str, int] = field(default_factory=dict)
    extra: object = None

    def reg(self, register: Reg) -> int:
        """A register of the hit."""
        return int.from_bytes(self.data[register : register + 8], "little")

    @property
    def args(self) -> list[int]:
        """The six argument registers."""
        return [self.reg(r) for r in (Reg.DI, Reg.SI, Reg.DX, Reg.CX, Reg.R8, Reg.R9)]


class Recorder:
    """Registers probes that append to `hits`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.hits: list[Hit] = []
        self._kept: list[object] = []

    def _symbol(self, address: int) -> str:
        found = self.machine.kernel.symbols.resolve(address)
        return f"{found[0]}+{found[1]:#x}" if found else ""

    def _handler(self, label: str, size: int, look: Callable[[int], object] | None) -> int:
        def handler(env: int, data: int, priv: int) -> int:
            length = size or peek64(env + Env.RECORD_SIZE)
            hit = Hit(
                label,
                self._symbol(peek64(env + Env.FUNC)).removesuffix("+0x0"),
                self._symbol(peek64(env + Env.RET_IP)),
                ctypes.string_at(data, length),
            )
            hit.env = {"tid": peek32(env + Env.TID), "time": peek64(env + Env.TIME_NS), "priv": priv}
            if size == PT_REGS_SIZE:
                hit.stack0 = peek64(host_ptr(hit.reg(Reg.SP)))
            hit.extra = look(data) if look else None
            self.hits.append(hit)
            return 0

        wrapped = _Handler(handler)
        self._kept.append(wrapped)
        return ctypes.cast(wrapped, ctypes.c_void_p).value or 0

    def probe(
        self,
        symbol: str,
        label: str = "",
        *,
        ret: bool = False,
        enable: bool = True,
        max_active: int = 0,
        look: Callable[[int], object] | None = None,
        priv: int = 0,
    ) -> Probe:
        """A kprobe or kretprobe, enabled unless told otherwise; `look(regs)` runs inside the handler."""
        handler = self._handler(label or ("r " if ret else "p ") + symbol, PT_REGS_SIZE, look)
        made = self.machine.probes.register(symbol, None, 0, handler, priv, ret=ret, max_active=max_active)
        if enable:
            made.enable()
        return made

    def tracepoint(self, name: str, *, raw: bool = False) -> Probe:
        """A probe of a tracepoint, enabled; raw ones record two words."""
        handler = self._handler(name, 16 if raw else 0, None)
        made = self.machine.probes.register_tracepoint(name, handler, 0, raw=raw)
        made.enable()
        return made

    @property
    def labels(self) -> list[str]:
        """Labels of the hits, in order."""
        return [hit.label for hit in self.hits]

    def take(self) -> list[Hit]:
        """The hits so far, which are then forgotten."""
        hits, self.hits = self.hits, []
        return hits


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


@pytest.fixture
def recorder(machine: Machine) -> Recorder:
    return Recorder(machine)


@pytest.fixture
def thread(machine: Machine) -> Iterator[Driver]:
    with Driver(machine, "tester") as driver:
        yield driver
