"""Links through bpf(2): a program on a perf event, on a raw tracepoint; maps bound to programs."""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator

import pytest

from engine.abi.bpf import AttachType, Cmd, FuncId, LinkType, MapType, ProgType
from engine.errors import KernelError
from engine.isa import decode
from engine.loader import load_object
from engine.machine import Machine
from engine.maps import Map, MapSpec, create_map
from engine.perf import PerfEventAttr
from engine.perf.kprobe import KprobeEvent
from engine.probes.driver import Driver
from engine.progs import Prog, load_prog, run_prog
from engine.progspec import ProgSpec
from engine.syscall import BpfCaller, bpf
from engine.syscall.caller import BpfFile
from engine.syscall.linkcmds import Link
from engine.syscall.progcmds import StatsHold
from tests import kernel_oracle
from tests.engine.helpers.kernel_helpers import call, insn
from tests.engine.loader.compiled import compile_c

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
        buffer = kernel_oracle.roomy(attr)
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


_TRACED = """
    unsigned long entered, seen;
    SEC("fentry/ksys_read") int enter(void *ctx) { entered++; return 0; }
    SEC("tp_btf/sys_enter") int see(void *ctx) { seen++; return 0; }
"""


@pytest.mark.parametrize("command", [Cmd.LINK_CREATE, Cmd.RAW_TRACEPOINT_OPEN])
def test_programs_that_know_their_target(setup: Setup, command: Cmd) -> None:
    loaded = load_object(compile_c(_TRACED), setup.machine, name="t")
    links = []
    for name, kind, other in (("enter", AttachType.TRACE_FENTRY, 25), ("see", AttachType.TRACE_RAW_TP, 24)):
        prog = setup.install(loaded.progs[name])
        if command == Cmd.LINK_CREATE:
            for bad in ((prog, 0, other), (prog, prog, kind)):
                assert setup.bpf(command, struct.pack("<iiI", *bad)) == -errno.EINVAL
            attr = struct.pack("<iiI", prog, 0, kind)
        else:
            assert setup.bpf(command, struct.pack("<Qi4x", 8, prog)) == -errno.EINVAL
            attr = struct.pack("<Qi4x", 0, prog)
        fd = setup.bpf(command, attr)
        link = setup.caller.fds.get(fd).object
        assert isinstance(link, Link)
        links.append((fd, link, attr))
    driver = Driver(setup.machine)
    driver.call("read", 3, 0x7000, 100)
    assert struct.unpack("<2Q", loaded.maps["t.bss"].lookup(bytes(4))) == (1, 1)
    assert setup.bpf(command, links[0][2]) == -errno.EBUSY
    _, info, _ = _info(setup, links[0][0], room=0)
    btf_id = loaded.progs["enter"].spec.attach_btf_id
    assert struct.unpack_from("<I12xIII", info) == (LinkType.TRACING, AttachType.TRACE_FENTRY, 1, btf_id)
    _, info, name_there = _info(setup, links[1][0])
    assert (info[0], name_there) == (LinkType.RAW_TRACEPOINT, b"sys_enter")
    for _, link, _ in links:
        link.close()
    driver.call("read", 3, 0x7000, 100)
    assert struct.unpack("<2Q", loaded.maps["t.bss"].lookup(bytes(4))) == (1, 1)
    assert setup.bpf(command, links[0][2]) > 0


def test_a_bound_map_lives_with_its_program(setup: Setup) -> None:
    prog = setup.counter(ProgType.KPROBE)
    bound = create_map(MapSpec(MapType.HASH, 4, 4, 1), setup.machine)
    fds = setup.install(prog), setup.install(bound)
    assert setup.bpf(Cmd.PROG_BIND_MAP, struct.pack("<iiI", *fds, 0)) == 0
    assert setup.bpf(Cmd.PROG_BIND_MAP, struct.pack("<iiI", *fds, 0)) == 0
    assert prog.maps.count(bound) == 1
    assert setup.bpf(Cmd.PROG_BIND_MAP, struct.pack("<iiI", *fds, 1)) == -errno.EINVAL
    assert setup.bpf(Cmd.PROG_BIND_MAP, struct.pack("<iiI", fds[0], fds[0], 0)) == -errno.EINVAL


def _info(
    setup: Setup, fd: int, length: int = 64, *, room: int = 32, kind: str = "<16xQI"
) -> tuple[int, bytes, bytes]:
    """(result, struct bpf_link_info, the name)"""
    name = ctypes.create_string_buffer(32)
    given = struct.pack(kind, ctypes.addressof(name) if room else 0, room)
    info = ctypes.create_string_buffer(given, 64)
    attr = struct.pack("<iIQ", fd, length, ctypes.addressof(info))
    return setup.bpf(Cmd.OBJ_GET_INFO_BY_FD, attr), info.raw, name.value


def test_what_links_tell_about_themselves(setup: Setup) -> None:
    prog = setup.counter(ProgType.KPROBE)
    event = KprobeEvent(setup.machine, PerfEventAttr(6, 1), "do_syscall_64", 0, 0)
    attr = struct.pack("<iiIIQ", setup.install(prog), setup.install(event), PERF_EVENT, 0, 100)
    fd = setup.bpf(Cmd.LINK_CREATE, attr)
    result, info, name = _info(setup, fd, kind="<24xQI")
    link = setup.caller.fds.get(fd).object
    assert isinstance(link, Link)
    link_id = link.id
    assert (result, name) == (0, b"do_syscall_64")
    assert struct.unpack_from("<III", info) == (LinkType.PERF_EVENT, link_id, prog.id)
    assert struct.unpack_from("<I12xIIQQQ", info, 16) == (4, 14, 0, event.probe.address, 0, 100)
    again = setup.bpf(Cmd.LINK_GET_FD_BY_ID, struct.pack("<I", link_id))
    assert setup.caller.fds.get(again).object is setup.caller.fds.get(fd).object
    assert setup.bpf(Cmd.LINK_GET_FD_BY_ID, struct.pack("<I", link_id + 1)) == -errno.ENOENT
    assert setup.bpf(Cmd.LINK_GET_NEXT_ID, struct.pack("<II", 0, 0)) == 0
    assert setup.bpf(Cmd.LINK_GET_NEXT_ID, struct.pack("<II", link_id, 0)) == -errno.ENOENT
    assert setup.bpf(Cmd.LINK_DETACH, struct.pack("<i", fd)) == -errno.EOPNOTSUPP
    assert setup.bpf(Cmd.LINK_DETACH, struct.pack("<i", setup.install(prog))) == -errno.EINVAL
    event.close()


def test_raw_tracepoints_tell_what_the_kernels_do(setup: Setup) -> None:
    if reason := kernel_oracle.kernel_unavailable():
        pytest.skip(reason)
    code, licence = insn(0xB7) + insn(0x95), ctypes.create_string_buffer(b"GPL")
    insns = ctypes.create_string_buffer(code, len(code))
    places = ctypes.addressof(insns), ctypes.addressof(licence)
    raw = struct.pack("<IIQQ", ProgType.RAW_TRACEPOINT, 2, *places).ljust(128, b"\0")
    name = ctypes.create_string_buffer(b"sys_enter")
    answers = []
    for call_ in (kernel_oracle.bpf, setup.bpf):
        prog = call_(Cmd.PROG_LOAD, raw)
        fd = call_(Cmd.RAW_TRACEPOINT_OPEN, struct.pack("<Qi4x", ctypes.addressof(name), prog))
        assert min(prog, fd) > 0
        for length, room in ((64, 32), (64, 4), (64, 0), (20, 32), (8, 32)):
            out = ctypes.create_string_buffer(32)
            given = struct.pack("<16xQI", ctypes.addressof(out) if room else 0, room)
            info = ctypes.create_string_buffer(given, 64)
            result = call_(Cmd.OBJ_GET_INFO_BY_FD, struct.pack("<iIQ", fd, length, ctypes.addressof(info)))
            answers.append((result, out.raw, info.raw[:4], info.raw[12:16], info.raw[24:32]))
        answers.append((call_(Cmd.LINK_DETACH, struct.pack("<i", fd)), b"", b"", b"", b""))
        if call_ is kernel_oracle.bpf:
            os.close(fd)
            os.close(prog)
    half = len(answers) // 2
    assert answers[:half] == answers[half:]


def test_run_time_is_counted_while_somebody_asks(setup: Setup) -> None:
    prog = setup.counter(ProgType.RAW_TRACEPOINT)
    env, ctx = setup.machine.new_env(), setup.machine.heap.alloc(64, 8)
    assert setup.bpf(Cmd.ENABLE_STATS, struct.pack("<I", 1)) == -errno.EINVAL
    run_prog(env, ctx, prog.address)
    assert (prog.run_cnt, prog.run_time_ns) == (1, 0)
    fds = [setup.bpf(Cmd.ENABLE_STATS, struct.pack("<I", 0)) for _ in range(2)]
    holds = [setup.caller.fds.get(fd).object for fd in fds]
    for hold in holds:
        run_prog(env, ctx, prog.address)
        counted = prog.run_time_ns
        assert counted > 0
        assert isinstance(hold, StatsHold)
        hold.close()
        hold.close()
    run_prog(env, ctx, prog.address)
    assert (prog.run_cnt, prog.run_time_ns) == (4, counted)
    setup.machine.heap.free(ctx)
    setup.machine.free_env(env)
