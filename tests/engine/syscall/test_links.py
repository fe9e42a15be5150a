"""Links through bpf(2): a program on a perf event, on a raw tracepoint; maps bound to programs."""

import ctypes
import errno
import struct
from collections.abc import Iterator

import pytest

from engine.abi.bpf import Cmd, FuncId, MapType, ProgType
from engine.errors import KernelError
from engine.isa import decode
from engine.machine import Machine
from engine.maps import Map, MapSpec, create_map
from engine.perf import PerfEventAttr
from engine.perf.kprobe import KprobeEvent
from engine.probes.driver import Driver
from engine.progs import Prog, load_prog
from engine.progspec import ProgSpec
from engine.syscall import BpfCaller, bpf
from engine.syscall.caller import BpfFile
from engine.syscall.linkcmds import Link
from tests.engine.helpers.kernel_helpers import call, insn

PERF_EVENT = 41


class Setup:
    """A machine, a caller, and a counting program of each kind that is asked for."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.caller = BpfCaller()
        self.counts: Map = create_map(MapSpec(MapType.ARRAY, 4, 8, 1), machine)

    def counter(self, kind: ProgType, extra: bytes = b"") -> Prog:
        """Adds r2 to the only value: 1, or what `extra` leaves there."""
        code = insn(0xB7, 2, imm=1) + extra + insn(0x18, 1, 2, 0, 7) + insn(0) + insn(0xDB, 1, 2)
        spec = ProgSpec(kind, decode(code + insn(0xB7) + insn(0x95)), "GPL", maps={7: self.counts})
        return load_prog(self.machine, spec)

    def install(self, item: object) -> int:
        return self.caller.fds.install(BpfFile(item))

    def bpf(self, command: Cmd, attr: bytes) -> int:
        buffer = ctypes.create_string_buffer(attr, len(attr))
        try:
            return bpf(self.machine, self.caller, command, ctypes.addressof(buffer), len(attr))
        except KernelError as error:
            return -error.errno

    @property
    def count(self) -> int:
        return int(struct.unpack("<Q", self.counts.lookup(bytes(4)))[0])


@pytest.fixture
def setup() -> Iterator[Setup]:
    machine = Machine()
    yield Setup(machine)
    machine.close()


def test_a_link_attaches_with_its_cookie_and_detaches(setup: Setup) -> None:
    cookie = insn(0xBF, 6, 1) + call_cookie()
    prog = setup.counter(ProgType.KPROBE, cookie)
    event = KprobeEvent(setup.machine, PerfEventAttr(6), "do_syscall_64", 0, 0)
    attr = struct.pack("<iiIIQ", setup.install(prog), setup.install(event), PERF_EVENT, 0, 100)
    fd = setup.bpf(Cmd.LINK_CREATE, attr)
    link = setup.caller.fds.get(fd).object
    assert isinstance(link, Link)
    assert setup.machine.links.get(link.id) is link
    driver = Driver(setup.machine)
    driver.call("getpid")
    driver.call("getpid")
    assert setup.count == 200
    assert setup.bpf(Cmd.LINK_CREATE, attr) == -errno.EEXIST
    link.close()
    link.close()
    driver.call("getpid")
    assert setup.count == 200


def call_cookie() -> bytes:
    """r2 = bpf_get_attach_cookie(ctx)"""

    return call(FuncId.get_attach_cookie) + insn(0xBF, 2, 0)


def test_what_cannot_be_linked(setup: Setup) -> None:
    kprobe, filter_ = setup.counter(ProgType.KPROBE), setup.counter(ProgType.SOCKET_FILTER)
    event = KprobeEvent(setup.machine, PerfEventAttr(6), "do_syscall_64", 0, 0)
    fds = [setup.install(item) for item in (kprobe, filter_, event)]
    for prog, target, kind, flags, wanted in (
        (fds[0], -1, PERF_EVENT, 0, errno.EBADF),
        (-1, fds[2], PERF_EVENT, 0, errno.EBADF),
        (fds[0], fds[1], PERF_EVENT, 0, errno.EBADF),
        (fds[1], fds[2], PERF_EVENT, 0, errno.EINVAL),
        (fds[0], fds[2], PERF_EVENT, 1, errno.EINVAL),
        (fds[0], fds[2], 42, 0, errno.EOPNOTSUPP),
    ):
        assert setup.bpf(Cmd.LINK_CREATE, struct.pack("<iiIIQ", prog, target, kind, flags, 0)) == -wanted
    event.close()


def test_raw_tracepoints(setup: Setup) -> None:
    prog = setup.install(setup.counter(ProgType.RAW_TRACEPOINT))
    name = ctypes.create_string_buffer(b"sys_enter")
    fd = setup.bpf(Cmd.RAW_TRACEPOINT_OPEN, struct.pack("<Qi4x", ctypes.addressof(name), prog))
    link = setup.caller.fds.get(fd).object
    assert isinstance(link, Link)
    driver = Driver(setup.machine)
    driver.call("getpid")
    assert setup.count == 1
    link.close()
    driver.call("getpid")
    assert setup.count == 1
    for text, used, wanted in ((b"no_such", prog, errno.ENOENT), (b"sys_enter", -1, errno.EBADF)):
        other = ctypes.create_string_buffer(text)
        attr = struct.pack("<Qi4x", ctypes.addressof(other), used)
        assert setup.bpf(Cmd.RAW_TRACEPOINT_OPEN, attr) == -wanted


def test_a_bound_map_lives_with_its_program(setup: Setup) -> None:
    prog = setup.counter(ProgType.KPROBE)
    bound = create_map(MapSpec(MapType.HASH, 4, 4, 1), setup.machine)
    fds = setup.install(prog), setup.install(bound)
    assert setup.bpf(Cmd.PROG_BIND_MAP, struct.pack("<iiI", *fds, 0)) == 0
    assert setup.bpf(Cmd.PROG_BIND_MAP, struct.pack("<iiI", *fds, 0)) == 0
    assert prog.maps.count(bound) == 1
    assert setup.bpf(Cmd.PROG_BIND_MAP, struct.pack("<iiI", *fds, 1)) == -errno.EINVAL
    assert setup.bpf(Cmd.PROG_BIND_MAP, struct.pack("<iiI", fds[0], fds[0], 0)) == -errno.EINVAL
