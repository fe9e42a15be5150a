"""The machine's own kernel as a reference: bpf(2) through ctypes, for tests that compare against it."""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from engine.abi.bpf import Cmd, MapType, ProgType

__all__ = [
    "KernelVerdict",
    "bpf",
    "create_map",
    "kernel_unavailable",
    "load",
    "open_map",
    "roomy",
    "test_run",
]

_SYS_BPF = 321
_LOG_SIZE = 1 << 24
_BPF_ATTR_ROOM = 256

_libc = ctypes.CDLL(None, use_errno=True)


def roomy(data: bytes, size: int | None = None) -> ctypes.Array[ctypes.c_char]:
    """A writable copy of `data`, of `size` bytes if given, in memory that goes on behind it.

    The kernel writes answers to where they are in a whole bpf_attr, however short the given one is.
    """
    length = len(data) if size is None else size
    return (ctypes.c_char * length).from_buffer(bytearray(data.ljust(length + _BPF_ATTR_ROOM, b"\0")))


def bpf(cmd: Cmd, attr: bytes | ctypes.Array[ctypes.c_char]) -> int:
    """bpf(2) with these attr bytes: the result, or minus the errno. A given array receives what the kernel
    writes."""
    buffer = roomy(attr) if isinstance(attr, bytes) else attr
    result = _libc.syscall(_SYS_BPF, int(cmd), buffer, ctypes.sizeof(buffer))
    return -ctypes.get_errno() if result < 0 else int(result)


@dataclass(frozen=True)
class KernelVerdict:
    """What BPF_PROG_LOAD said: errno (0: accepted), the log, and the fd when it was kept open (else -1)."""

    errno: int
    log: str
    fd: int = -1

    @property
    def accepted(self) -> bool:
        """Whether the program was loaded."""
        return self.errno == 0

    @property
    def errname(self) -> str:
        """Symbolic errno, `OK` when accepted."""
        return errno.errorcode.get(self.errno, str(self.errno)) if self.errno else "OK"


def kernel_unlike(release: str) -> str:
    """Why the machine's kernel cannot be compared with the engine, which is like that of `release`; empty
    when it can."""
    running = os.uname().release
    if running == release or running.startswith((release + ".", release + "-")):
        return kernel_unavailable()
    return f"the engine is like Linux {release}, this is {running}"


def load(
    insns: bytes,
    prog_type: ProgType = ProgType.SOCKET_FILTER,
    *,
    license: str = "GPL",
    log_level: int = 2,
    expected_attach_type: int = 0,
    prog_flags: int = 0,
    btf_fd: int = 0,
    func_info: bytes = b"",
    line_info: bytes = b"",
    keep: bool = False,
    log_size: int = _LOG_SIZE,
    attach_btf_id: int = 0,
) -> KernelVerdict:
    """BPF_PROG_LOAD of encoded instructions. With `keep` the caller closes `fd`."""
    code = ctypes.create_string_buffer(insns, len(insns))
    lic = ctypes.create_string_buffer(license.encode())
    log = ctypes.create_string_buffer(log_size) if log_level else None
    finfo = ctypes.create_string_buffer(func_info, len(func_info)) if func_info else None
    linfo = ctypes.create_string_buffer(line_info, len(line_info)) if line_info else None
    attr = struct.pack(
        "<IIQQIIQII16sIIIIQIIQIII",
        prog_type,
        len(insns) // 8,
        ctypes.addressof(code),
        ctypes.addressof(lic),
        log_level,
        log_size if log is not None else 0,
        ctypes.addressof(log) if log is not None else 0,
        0,
        prog_flags,
        b"",
        0,
        expected_attach_type,
        btf_fd,
        8 if finfo else 0,
        ctypes.addressof(finfo) if finfo else 0,
        len(func_info) // 8,
        16 if linfo else 0,
        ctypes.addressof(linfo) if linfo else 0,
        len(line_info) // 16,
        attach_btf_id,
        0,
    )
    fd = bpf(Cmd.PROG_LOAD, attr)
    text = log.value.decode(errors="replace") if log is not None else ""
    if fd < 0:
        return KernelVerdict(-fd, text)
    if keep:
        return KernelVerdict(0, text, fd)
    os.close(fd)
    return KernelVerdict(0, text)


def create_map(
    map_type: MapType,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    *,
    name: str = "",
    inner_fd: int = 0,
    btf: tuple[int, int, int] = (0, 0, 0),
) -> int:
    """BPF_MAP_CREATE: the map's fd, or minus the errno. `btf` is (btf fd, key type id, value type id)."""
    sizes = key_size, value_size, max_entries
    attr = struct.pack("<IIIIIII16sIIII", map_type, *sizes, flags, inner_fd, 0, name.encode(), 0, *btf)
    return bpf(Cmd.MAP_CREATE, attr)


@contextmanager
def open_map(
    map_type: MapType, key_size: int, value_size: int, max_entries: int, flags: int = 0
) -> Iterator[int]:
    """A kernel map for the length of a `with` block."""
    fd = create_map(map_type, key_size, value_size, max_entries, flags)
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd))
    try:
        yield fd
    finally:
        os.close(fd)


def test_run(
    prog_fd: int, data: bytes = b"", ctx: bytes = b"", repeat: int = 1
) -> tuple[int, int, int, bytes]:
    """BPF_PROG_TEST_RUN: (errno or 0, 32-bit return value, mean run time in ns, packet afterwards)."""
    din = ctypes.create_string_buffer(data, len(data)) if data else None
    dout = ctypes.create_string_buffer(len(data) + 256) if data else None
    cin = ctypes.create_string_buffer(ctx, len(ctx)) if ctx else None
    attr = ctypes.create_string_buffer(
        struct.pack(
            "<IIIIQQIIIIQQIIII",
            prog_fd,
            0,
            len(data),
            len(data) + 256 if data else 0,
            ctypes.addressof(din) if din else 0,
            ctypes.addressof(dout) if dout else 0,
            repeat,
            0,
            len(ctx),
            0,
            ctypes.addressof(cin) if cin else 0,
            0,
            0,
            0,
            0,
            0,
        ),
        80,
    )
    result = bpf(Cmd.PROG_TEST_RUN, attr)
    if result < 0:
        return -result, 0, 0, b""
    _fd, retval, _in, out_size = struct.unpack_from("<IIII", attr.raw)
    duration = struct.unpack_from("<I", attr.raw, 36)[0]
    return 0, retval, duration, (dout.raw[:out_size] if dout else b"")


def kernel_unavailable() -> str:
    """Why the kernel cannot be asked (for a test's skip reason); empty when it can."""
    if os.geteuid() != 0:
        return "needs root: bpf(2) is asked for the reference verdict"
    exit_program = bytes.fromhex("b7000000000000009500000000000000")
    verdict = load(exit_program, log_level=0)
    return "" if verdict.accepted else f"this kernel refuses bpf(2): {verdict.errname}"
