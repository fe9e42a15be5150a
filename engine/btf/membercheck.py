"""Whether a member fits into its struct (`check_member` and `check_kflag_member`, kernel/bpf/btf.c)."""

from engine.btf.types import Array, Composite, Enum, Float, Int, Member, Pointer, Type

__all__ = ["check_member", "is_regular_int"]

_EXCEEDS = "Member exceeds struct_size"
_UNALIGNED = "Member is not byte aligned"


def is_regular_int(record: Int) -> bool:
    """No bit field, and as wide as an integer of C."""
    return not record.offset and record.bits in (8, 16, 32, 64, 128)


def check_member(owner: Composite, member: Member, record: Type, size: int) -> str:
    """What is wrong with a member whose type, without modifiers, is `record` of `size` bytes; else empty."""
    match record:
        case Int():
            return _flagged_int(owner, member, record) if owner.flag else _plain_int(owner, member, record)
        case Enum() if owner.flag:
            return _flagged_enum(owner, member)
        case Float():
            if member.bits:
                return "Invalid member bitfield_size"
            if member.bit_offset % (min(8, size) * 8):
                return "Member is not properly aligned"
            return _EXCEEDS if member.bit_offset // 8 + size > owner.size else ""
        case Pointer() | Array() | Composite() | Enum():
            if member.bits:
                return "Invalid member bitfield_size"
            if member.bit_offset & 7:
                return _UNALIGNED
            return _EXCEEDS if owner.size - member.bit_offset // 8 < size else ""
    return "Unsupported check_member"


def _plain_int(owner: Composite, member: Member, record: Int) -> str:
    start = member.bit_offset + record.offset
    if start > 0xFFFFFFFF:
        return "bits_offset exceeds U32_MAX"
    return _room(owner, start, record.bits)


def _flagged_int(owner: Composite, member: Member, record: Int) -> str:
    if not is_regular_int(record):
        return "Invalid member base type"
    bits = member.bits
    if not bits:
        if member.bit_offset & 7:
            return "Invalid member offset"
        bits = record.bits
    elif bits > record.bits:
        return "Invalid member bitfield_size"
    return _room(owner, member.bit_offset, bits)


def _room(owner: Composite, start: int, bits: int) -> str:
    copied = bits + (start & 7)
    if copied > 128:
        return "nr_copy_bits exceeds 128"
    return _EXCEEDS if start // 8 + (copied + 7) // 8 > owner.size else ""


def _flagged_enum(owner: Composite, member: Member) -> str:
    bits = member.bits
    if not bits:
        if member.bit_offset & 7:
            return _UNALIGNED
        bits = 32
    elif bits > 32:
        return "Invalid member bitfield_size"
    return _EXCEEDS if owner.size < (member.bit_offset + bits + 7) // 8 else ""
