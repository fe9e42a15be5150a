"""Fields of map values that the kernel knows by the name of their type (`btf_find_field`)."""

import errno

from engine.btf.btf import Btf
from engine.btf.types import Composite, DataSec, Kind, Var
from engine.errors import KernelError

__all__ = ["field_offset", "spin_lock_offset", "timer_offset"]


def field_offset(btf: Btf, type_id: int, name: str, size: int, align: int) -> int | None:
    """Byte offset of the one `struct name` in a struct or section, None without one.

    Raises KernelError: E2BIG for two of them, EINVAL for one that is not aligned.
    """
    record = btf.type(type_id)
    found: list[int] = []
    if isinstance(record, Composite) and record.kind is Kind.STRUCT:
        for member in record.members:
            if _is(btf, member.type, name, size):
                if member.bit_offset % (8 * align):
                    raise KernelError(errno.EINVAL, f"struct {name} is not aligned")
                found.append(member.bit_offset // 8)
    elif isinstance(record, DataSec):
        for placed in record.vars:
            var = btf.type(placed.type)
            if isinstance(var, Var) and placed.size == size and _is(btf, var.type, name, size):
                if placed.offset % align:
                    raise KernelError(errno.EINVAL, f"struct {name} is not aligned")
                found.append(placed.offset)
    if len(found) > 1:
        raise KernelError(errno.E2BIG, f"more than one struct {name}")
    return found[0] if found else None


def _is(btf: Btf, type_id: int, name: str, size: int) -> bool:
    record = btf.type(type_id)
    return isinstance(record, Composite) and record.name == name and record.size == size


def spin_lock_offset(btf: Btf, type_id: int) -> int | None:
    """Where the `struct bpf_spin_lock` of a value is."""
    return field_offset(btf, type_id, "bpf_spin_lock", 4, 4)


def timer_offset(btf: Btf, type_id: int) -> int | None:
    """Where the `struct bpf_timer` of a value is."""
    return field_offset(btf, type_id, "bpf_timer", 16, 8)
