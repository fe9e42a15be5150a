"""Linking machine code: it lives as long as its tracker, and leaves nothing behind."""

import ctypes
import gc

import pytest

from engine.jit import codegen

SEVEN = "define i64 @seven(i64 %x) {\n  %y = mul i64 %x, 7\n  ret i64 %y\n}\n"
LINKS = 320
"""Libraries, each of which would leave some 9 kB in a linker that is never freed."""


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(f"field_{i}", ctypes.c_size_t) for i in range(10)]


def _allocated() -> int:
    """Bytes that malloc has handed out (`uordblks`)."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        pytest.skip("needs glibc 2.33 for mallinfo2")
    libc.mallinfo2.restype = _Mallinfo2
    info = libc.mallinfo2()
    return int(info.field_7)


def test_code_outlives_its_linker() -> None:
    image = codegen.object_of(SEVEN)
    addresses, tracker = codegen.link_tracked(image, ["seven"])
    for _ in range(LINKS):
        codegen.link_tracked(image, ["seven"])
    gc.collect()
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(addresses["seven"])(6) == 42
    del tracker


def test_linking_leaves_nothing_behind() -> None:
    image = codegen.object_of(SEVEN)
    for _ in range(LINKS):
        codegen.link_tracked(image, ["seven"])
    before = _allocated()
    for _ in range(LINKS):
        codegen.link_tracked(image, ["seven"])
    assert _allocated() - before < 1 << 20
