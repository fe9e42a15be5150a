"""What clients ask first, to find out what a kernel can do: libbpf, bpftrace, cilium/ebpf, Aya."""

import ctypes
import errno
import struct
from collections.abc import Iterator

import pytest

from engine.abi.bpf import AttachType, Cmd, FuncId, MapCreateFlag, MapType, ProgType
from engine.btf.build import BtfBuilder
from engine.btf.types import DataSec, DeclTag, Encoding, Float, Kind, Linkage, Modifier, Param, SecVar, Var
from engine.errors import KernelError
from engine.isa import assemble, encode
from engine.machine import Machine
from engine.syscall import BpfCaller, bpf
from engine.syscall.perf import perf_event_open
from tests.engine.helpers.kernel_helpers import call, insn
from tests.engine.syscall.sides import address_of, buffer


class Client:
    """A process that calls bpf(2)."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.caller = BpfCaller()

    def bpf(self, command: Cmd, attr: bytes | ctypes.Array[ctypes.c_char]) -> int:
        raw = buffer(attr) if isinstance(attr, bytes) else attr
        try:
            return bpf(self.machine, self.caller, command, ctypes.addressof(raw), len(raw))
        except KernelError as error:
            return -error.errno

    def load(
        self,
        kind: ProgType,
        code: bytes,
        licence: bytes = b"GPL",
        log: ctypes.Array[ctypes.c_char] | None = None,
    ) -> int:
        insns, text = buffer(code), buffer(licence + b"\0")
        raw = struct.pack("<IIQQ", kind, len(code) // 8, address_of(insns), address_of(text))
        raw += struct.pack("<IIQ", log is not None, len(log) if log is not None else 0, address_of(log))
        return self.bpf(Cmd.PROG_LOAD, raw.ljust(128, b"\0"))

    def map(
        self, kind: MapType, flags: int = 0, name: bytes = b"", sizes: tuple[int, int, int] = (4, 4, 1)
    ) -> int:
        raw = struct.pack("<IIIIIII16s", kind, *sizes, flags, 0, 0, name)
        return self.bpf(Cmd.MAP_CREATE, raw.ljust(72, b"\0"))

    def types(self, builder: BtfBuilder) -> int:
        blob = buffer(builder.encode())
        return self.bpf(Cmd.BTF_LOAD, struct.pack("<QQI8x", address_of(blob), 0, len(blob)))


@pytest.fixture
def client() -> Iterator[Client]:
    machine = Machine()
    yield Client(machine)
    machine.close()


def test_plain_programs(client: Client) -> None:
    assert client.load(ProgType.SOCKET_FILTER, insn(0xB7) + insn(0x95)) > 0
    assert client.load(ProgType.SOCKET_FILTER, call(FuncId.ktime_get_coarse_ns) + insn(0x95)) > 0
    assert client.load(ProgType.SOCKET_FILTER, insn(0xB7) + insn(0x95), b"MIT") > 0


def _func(b: BtfBuilder, linkage: int) -> int:
    number = b.integer("int", 4, Encoding.SIGNED)
    return b.func("f", b.func_proto(number, [Param("a", number)]), linkage)


def _section(b: BtfBuilder) -> int:
    var = b.add(Var("x", b.integer("int", 4, Encoding.SIGNED), Linkage.STATIC))
    return b.add(DataSec(".data", 4, (SecVar(var, 0, 4),)))


def _tag(b: BtfBuilder) -> int:
    var = b.add(Var("x", b.integer("int", 4, Encoding.SIGNED), Linkage.STATIC))
    return b.add(DeclTag("tag", var, -1))


_TYPES = {
    "int": lambda b: b.integer("int", 4, Encoding.SIGNED),
    "static func": lambda b: _func(b, Linkage.STATIC),
    "global func": lambda b: _func(b, Linkage.GLOBAL),
    "datasec": _section,
    "float": lambda b: b.add(Float("float", 4)),
    "decl tag": _tag,
    "type tag": lambda b: b.pointer(b.add(Modifier(Kind.TYPE_TAG, b.integer("int", 4), "tag"))),
    "enum64": lambda b: b.enum("e", {"A": 1 << 40}, 8),
}


@pytest.mark.parametrize("name", list(_TYPES))
def test_kinds_of_types(client: Client, name: str) -> None:
    builder = BtfBuilder()
    _TYPES[name](builder)
    assert client.types(builder) > 0


def test_maps_for_global_variables(client: Client) -> None:
    assert client.map(MapType.ARRAY, MapCreateFlag.MMAPABLE, b"libbpf_mmap") > 0
    fd = client.map(MapType.ARRAY, 0, b"libbpf_global", (4, 32, 1))
    load = struct.pack("<BBhiBBhi", 0x18, 0x21, 0, fd, 0, 0, 0, 16)
    store = insn(0x7A, 1, 0, 0, 42)
    assert client.load(ProgType.SOCKET_FILTER, load + store + insn(0xB7) + insn(0x95)) > 0


@pytest.mark.parametrize("flags", [0, MapCreateFlag.MMAPABLE, MapCreateFlag.RDONLY_PROG])
@pytest.mark.parametrize("name", [b"", b"feature_test", b".test"])
def test_names_and_flags_of_maps(client: Client, flags: int, name: bytes) -> None:
    assert client.map(MapType.ARRAY, flags, name) > 0


@pytest.mark.parametrize("kind", [ProgType.TRACEPOINT, ProgType.KPROBE])
def test_reading_kernel_memory(client: Client, kind: ProgType) -> None:
    code = encode(assemble("r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\ncall 113\nexit"))
    assert client.load(kind, code) > 0


def test_a_helper_called_wrongly_is_told_from_one_that_is_missing(client: Client) -> None:
    log = buffer(bytes(4096))
    assert client.load(ProgType.KPROBE, insn(0x85, imm=113) + insn(0x95), log=log) < 0
    assert b"R1 type=ctx expected=fp" in log.value
    assert b"unknown func" not in log.value
    assert b"invalid func" not in log.value


def test_cookies_of_perf_links(client: Client) -> None:
    prog = client.load(ProgType.TRACEPOINT, insn(0xB7) + insn(0x95))
    attr = struct.pack("<IiIIQ", prog, -1, AttachType.PERF_EVENT, 0, 0)
    assert client.bpf(Cmd.LINK_CREATE, attr) == -errno.EBADF
    attr = struct.pack("<IiIIQ", prog, prog, AttachType.PERF_EVENT, 0, 0)
    assert client.bpf(Cmd.LINK_CREATE, attr) == -errno.EBADF


def test_kprobe_multi(client: Client) -> None:
    prog = client.load(ProgType.KPROBE, insn(0xB7) + insn(0x95))
    attr = struct.pack("<IiII", prog, 0, AttachType.TRACE_KPROBE_MULTI, 0)
    assert client.bpf(Cmd.LINK_CREATE, attr) == -errno.EOPNOTSUPP


def test_maps_bound_to_programs(client: Client) -> None:
    prog, bound = client.load(ProgType.SOCKET_FILTER, insn(0xB7) + insn(0x95)), client.map(MapType.ARRAY)
    assert client.bpf(Cmd.PROG_BIND_MAP, struct.pack("<III", prog, bound, 0)) == 0


def test_begin_and_end_run_as_raw_tracepoints(client: Client) -> None:
    used = client.map(MapType.ARRAY, sizes=(4, 8, 1))
    load = struct.pack("<BBhiBBhi", 0x18, 0x21, 0, used, 0, 0, 0, 0)
    prog = client.load(ProgType.RAW_TRACEPOINT, load + insn(0x7A, 1, 0, 0, 42) + insn(0xB7) + insn(0x95))
    assert client.bpf(Cmd.PROG_TEST_RUN, struct.pack("<I", prog).ljust(80, b"\0")) == 0
    key, value = buffer(bytes(4)), buffer(bytes(8))
    attr = struct.pack("<I4xQQQ", used, address_of(key), address_of(value), 0)
    assert client.bpf(Cmd.MAP_LOOKUP_ELEM, attr) == 0
    assert struct.unpack("<Q", value) == (42,)


@pytest.mark.parametrize("kind", [MapType.SOCKMAP, MapType.SK_STORAGE])
def test_maps_that_are_not_there_are_a_clean_error(client: Client, kind: MapType) -> None:
    assert client.map(kind) == -errno.EINVAL


def test_cookies_of_kprobes(client: Client) -> None:
    assert client.load(ProgType.KPROBE, call(FuncId.get_attach_cookie) + insn(0x95)) > 0


@pytest.mark.parametrize("size", [0, 64, 112, 128])
def test_sizes_of_perf_attributes(client: Client, size: int) -> None:
    raw = struct.pack("<IIQQQ", 1, size, 10, 1, 1 << 10).ljust(136, b"\0")
    attr = buffer(raw)
    assert perf_event_open(client.machine, client.caller, ctypes.addressof(attr), -1, 0, -1, 8) > 0


@pytest.mark.parametrize("size", [20, 40, 64, 72, 168, 4096])
def test_attributes_of_every_age(client: Client, size: int) -> None:
    raw = struct.pack("<IIIII", MapType.HASH, 4, 8, 16, 0)
    assert client.bpf(Cmd.MAP_CREATE, raw.ljust(size, b"\0")) > 0
    if size > 168:
        assert client.bpf(Cmd.MAP_CREATE, raw.ljust(size - 1, b"\0") + b"\1") == -errno.E2BIG
