"""What lies at an offset of a kernel struct: a pointer to another struct, or bytes that are just a number.

The rules are those of `btf_struct_walk` (kernel/bpf/btf.c): an access lies in one member, whole pointers are
read whole, bit fields are read with all their bytes.
"""

from engine.btf import Btf, Kind
from engine.btf.types import Array, Composite, Int, Member, Pointer
from engine.errors import KernelError
from engine.verifier.env import Env

__all__ = ["walk_struct"]


class _Walk:
    """One access: where it is in the struct being looked at, and whether it went through a union."""

    def __init__(self, env: Env, btf: Btf, off: int, size: int) -> None:
        self.env = env
        self.btf = btf
        self.off = off
        self.size = size
        self.untrusted = False

    def step(self, struct: Composite) -> Composite | Pointer | None:
        """The struct inside that has the bytes, the pointer that they are, or None for a number."""
        if struct.kind == Kind.UNION and len(struct.members) != 1:
            self.untrusted = True
        if self.off + self.size > struct.size:
            return self._flexible(struct)
        for member in struct.members:
            start = member.bit_offset // 8
            if self.off + self.size <= start:
                break
            if member.bits:
                end = (member.bit_offset + member.bits + 7) // 8
                if self.off <= start and end <= self.off + self.size:
                    return None
                continue
            if self.off < start:
                break
            total, inner, step = self._shape(member)
            if self.off < start + total:
                return self._inside(struct, member, start, total, inner, step)
        self.env.invalid(f"struct {_name(struct)} doesn't have field at offset {self.off}")

    def _flexible(self, struct: Composite) -> Composite | None:
        """Beyond the end lie only the elements of an array of no fixed length."""
        last = struct.members[-1] if struct.members else None
        array = self.btf.resolve(last.type) if last is not None else None
        if last is not None and isinstance(array, Array) and not array.count:
            start = last.bit_offset // 8
            element = self.btf.resolve(array.type)
            if self.off >= start:
                if isinstance(element, Int):
                    return None
                if isinstance(element, Composite) and element.size:
                    self.off = (self.off - start) % element.size
                    return element
        self.env.deny(f"access beyond struct {_name(struct)} at off {self.off} size {self.size}")

    def _shape(self, member: Member) -> tuple[int, int, int]:
        """Bytes of a member, the type of it or of the elements of its array, bytes of one of these."""
        try:
            total = self.btf.size_of(member.type)
        except KernelError:
            self.env.reject(14, f"field {member.name} doesn't have size")
        inner = self.btf.skip(member.type)
        while isinstance(record := self.btf.type(inner), Array):
            inner = self.btf.skip(record.type)
        return total, inner, self.btf.size_of(inner) if total else 0

    def _inside(
        self, struct: Composite, member: Member, start: int, total: int, inner: int, step: int
    ) -> Composite | Pointer | None:
        """The access begins in this member."""
        end = start + total
        start += (self.off - start) // step * step
        record = self.btf.type(inner)
        where = f"struct {_name(struct)} with off {self.off} size {self.size}"
        if isinstance(record, Composite):
            self.off -= start
            return record
        if isinstance(record, Pointer):
            if step != self.size or self.off != start:
                self.env.deny(f"cannot access ptr member {_named(member)} with moff {start} in {where}")
            return record
        if self.off + self.size > end and not self.untrusted:
            self.env.deny(f"access beyond the end of member {_named(member)} (mend:{end}) in {where}")
        return None


def _name(struct: Composite) -> str:
    return struct.name or "(anon)"


def _named(member: Member) -> str:
    return member.name or "(anon)"


def walk_struct(env: Env, struct: Composite, off: int, size: int) -> tuple[Pointer | None, bool]:
    """The pointer that `size` bytes at `off` of `struct` are, None for a number, and whether they are part of
    a union, and may be something else. Refuses what is neither."""
    walk = _Walk(env, env.spec.kernel_btf, off, size)
    found: Composite | Pointer | None = struct
    while isinstance(found, Composite):
        found = walk.step(found)
    return found, walk.untrusted
