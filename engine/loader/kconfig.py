"""Values of `.kconfig` externs (libbpf's `set_kcfg_value_*`)."""

import errno

from engine.btf import Btf
from engine.btf.types import Array, Encoding, Enum, Int
from engine.errors import KernelError
from engine.loader.kernelinfo import KernelInfo
from engine.loader.spec import Extern

__all__ = ["kconfig_value"]

_TRISTATE = {"n": 0, "y": 1, "m": 2}
_VIRTUAL = {"LINUX_HAS_BPF_COOKIE": 1, "LINUX_HAS_SYSCALL_WRAPPER": 1}
"""Features of the modelled kernel that libbpf presents as configuration."""


def kconfig_value(extern: Extern, btf: Btf, kernel: KernelInfo) -> bytes:
    """`extern.size` bytes. Raises KernelError: ESRCH if a strong extern has no value, EINVAL, ERANGE."""
    if extern.name == "LINUX_KERNEL_VERSION":
        return _number(extern, btf, kernel.version)
    if extern.name in _VIRTUAL:
        return _number(extern, btf, _VIRTUAL[extern.name])
    text = kernel.config.get(extern.name)
    if text is None:
        if not extern.weak:
            raise KernelError(
                errno.ESRCH, f"extern (kcfg) '{extern.name}' is not in the kernel's configuration"
            )
        return bytes(extern.size)
    if text in _TRISTATE:
        return _tristate(extern, btf, text)
    if text.startswith('"'):
        return _string(extern, btf, text)
    try:
        value = int(text, 0)
    except ValueError:
        raise _bad(extern, f"unrecognized value {text!r}") from None
    return _number(extern, btf, value)


def _bad(extern: Extern, reason: str, number: int = errno.EINVAL) -> KernelError:
    return KernelError(number, f"extern (kcfg) '{extern.name}': {reason}")


def _tristate(extern: Extern, btf: Btf, text: str) -> bytes:
    record = btf.resolve(extern.type_id)
    if isinstance(record, Int) and record.encoding & Encoding.BOOL:
        if text == "m":
            raise _bad(extern, "value 'm' implies tristate or char type")
        return _TRISTATE[text].to_bytes(extern.size, "little")
    if isinstance(record, Int) and record.size == 1:
        return text.encode()
    if isinstance(record, Enum) and record.name == "libbpf_tristate":
        return _TRISTATE[text].to_bytes(extern.size, "little")
    raise _bad(extern, f"value '{text}' implies bool, tristate or char type")


def _string(extern: Extern, btf: Btf, text: str) -> bytes:
    record = btf.resolve(extern.type_id)
    element = btf.resolve(record.type) if isinstance(record, Array) else None
    if not isinstance(element, Int) or element.size != 1:
        raise _bad(extern, f"value {text} implies char array type")
    if len(text) < 2 or not text.endswith('"'):
        raise _bad(extern, f"invalid string {text}")
    return text[1:-1].encode("utf-8", "surrogateescape")[: extern.size - 1].ljust(extern.size, b"\0")


def _number(extern: Extern, btf: Btf, value: int) -> bytes:
    record = btf.resolve(extern.type_id)
    if not isinstance(record, Int | Enum) or not 1 <= extern.size <= 8:
        raise _bad(extern, f"value {value} implies integer type")
    signed = bool(record.encoding & Encoding.SIGNED) if isinstance(record, Int) else record.signed
    bits = extern.size * 8
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    if not low <= value < high:
        raise _bad(extern, f"value {value} doesn't fit in {extern.size} bytes", errno.ERANGE)
    return value.to_bytes(extern.size, "little", signed=signed)
