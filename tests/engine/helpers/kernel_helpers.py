"""The kernel's helpers as functions: small socket filters run by BPF_PROG_TEST_RUN."""

import ctypes
import os
import struct
from collections.abc import Sequence
from contextlib import ExitStack

from engine.abi.bpf import Cmd, FuncId, MapCreateFlag, MapType
from tests import kernel_oracle

__all__ = ["call", "insn", "load_address", "load_value", "run", "snprintf", "value_map"]

OUT_SIZE = 2048


def insn(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    """One instruction."""
    return struct.pack("<BBhI", code, src << 4 | dst, off, imm & 0xFFFF_FFFF)


def load_value(dst: int, value: int) -> bytes:
    """dst = a 64-bit constant."""
    value &= 2**64 - 1
    return insn(0x18, dst, 0, 0, value) + insn(0, imm=value >> 32)


def load_address(dst: int, map_fd: int, offset: int = 0) -> bytes:
    """dst = address in the only value of an array."""
    return insn(0x18, dst, 2, 0, map_fd) + insn(0, imm=offset)


def call(helper: FuncId) -> bytes:
    """Call a helper."""
    return insn(0x85, imm=helper)


def value_map(stack: ExitStack, content: bytes, *, constant: bool = False) -> int:
    """An array with one value; read-only and frozen where `constant`."""
    flags = MapCreateFlag.RDONLY_PROG if constant else 0
    fd = kernel_oracle.create_map(MapType.ARRAY, 4, len(content), 1, flags)
    assert fd >= 0
    stack.callback(os.close, fd)
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(content, len(content))
    attr = struct.pack("<I4xQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0)
    assert kernel_oracle.bpf(Cmd.MAP_UPDATE_ELEM, attr) == 0
    if constant:
        assert kernel_oracle.bpf(Cmd.MAP_FREEZE, struct.pack("<I", fd)) == 0
    return fd


def content_of(fd: int, size: int) -> bytes:
    """The value of such an array."""
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(size)
    attr = struct.pack("<I4xQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0)
    assert kernel_oracle.bpf(Cmd.MAP_LOOKUP_ELEM, attr) == 0
    return value.raw


def run(code: bytes, result_fd: int) -> int:
    """Run instructions that leave a helper's answer in r0; the errno (negative) where they are not loaded."""
    store = insn(0xBF, 6, 0) + load_address(1, result_fd) + insn(0x7B, 1, 6, 0) + insn(0xB7) + insn(0x95)
    verdict = kernel_oracle.load(code + store, keep=True)
    if not verdict.accepted:
        return -verdict.errno
    error, _, _, _ = kernel_oracle.test_run(verdict.fd, bytes(64))
    os.close(verdict.fd)
    assert error == 0
    return int(struct.unpack("<q", content_of(result_fd, 8))[0])


def snprintf(fmt: bytes, args: Sequence[int | bytes], size: int = OUT_SIZE) -> tuple[int, bytes]:
    """bpf_snprintf of the kernel: answer and buffer. An argument of bytes is passed as its address."""
    with ExitStack() as stack:
        result, out = value_map(stack, bytes(8)), value_map(stack, b"\xaa" * OUT_SIZE)
        format_fd = value_map(stack, fmt + b"\0", constant=True)
        numbers = [0 if isinstance(a, bytes) else a & (2**64 - 1) for a in args]
        args_fd = value_map(stack, struct.pack(f"<{len(numbers)}Q", *numbers) or bytes(8))
        code = load_address(9, args_fd)
        for i, argument in enumerate(args):
            if isinstance(argument, bytes):
                code += load_address(8, value_map(stack, argument + b"\0")) + insn(0x7B, 9, 8, 8 * i)
        code += load_address(1, out) + load_value(2, size) + load_address(3, format_fd) + insn(0xBF, 4, 9)
        code += load_value(5, 8 * len(args)) + call(FuncId.snprintf)
        return run(code, result), content_of(out, OUT_SIZE)
