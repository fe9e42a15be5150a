"""Arguments of helpers: types, sizes, maps, references (`check_func_arg` and what it calls)."""

from dataclasses import dataclass

from engine.abi.bpf import FuncId, MapType, ProgType
from engine.helpers.proto import Arg, Proto
from engine.progspec import MapLike
from engine.verifier.backtrack import Masks
from engine.verifier.env import Env
from engine.verifier.locks import lock_arg
from engine.verifier.mapinfo import map_rights, special_fields
from engine.verifier.memory import check_alignment, check_packet, check_ptr_off, check_region
from engine.verifier.precision import mark_chain_precision, mark_masks_precise
from engine.verifier.regs import MAYBE_NULL, RDONLY, RINGBUF, SCALAR, TRUSTED, Reg, RegType, type_name
from engine.verifier.scan import MAX_VAR_OFF
from engine.verifier.stack import check_stack_range

__all__ = ["CallMeta", "check_arg", "check_memory"]


@dataclass(slots=True)
class CallMeta:
    """What the arguments of one call said.

    raw: (register, bytes) of stack that the helper fills; ref: id of the reference among the arguments;
    mem_size:
    bytes to be allocated; max_size: upper bound of the size argument; const_key: key of an array map.
    """

    number: int
    map: MapLike | None = None
    raw: tuple[int, int] | None = None
    uninit: bool = False
    ref: int = 0
    mem_size: int = 0
    max_size: int = 0
    subprog: int | None = None
    const_key: int | None = None


_ANY_MEM = (
    (int(RegType.STACK), 0),
    (int(RegType.PACKET), 0),
    (int(RegType.PACKET_META), 0),
    (int(RegType.MAP_KEY), 0),
    (int(RegType.MAP_VALUE), 0),
    (int(RegType.MEM), 0),
    (int(RegType.MEM), RINGBUF),
    (int(RegType.MEM), RDONLY),
)
_MAP_VALUES = (Arg.PTR_TO_MAP_VALUE, Arg.PTR_TO_MAP_VALUE_OR_NULL, Arg.UNINIT_MAP_VALUE)
_MEMORY = (Arg.PTR_TO_MEM, Arg.PTR_TO_MEM_OR_NULL, Arg.UNINIT_MEM, Arg.WRITTEN_MEM)
_FIXED = {Arg.PTR_TO_LONG: 8, Arg.PTR_TO_INT: 4}
_TYPES: dict[Arg, tuple[tuple[int, int], ...]] = {
    **dict.fromkeys((Arg.PTR_TO_MAP_KEY, *_MAP_VALUES, *_MEMORY, *_FIXED), _ANY_MEM),
    Arg.PTR_TO_BTF_ID_OR_NULL: ((int(RegType.BTF), 0), (int(RegType.BTF), TRUSTED)),
    **dict.fromkeys((Arg.CONST_SIZE, Arg.CONST_SIZE_OR_ZERO, Arg.CONST_ALLOC_SIZE_OR_ZERO), ((SCALAR, 0),)),
    Arg.CONST_MAP_PTR: ((int(RegType.MAP_PTR), 0),),
    Arg.PTR_TO_CTX: ((int(RegType.CTX), 0),),
    Arg.PTR_TO_CTX_OR_NULL: ((int(RegType.CTX), 0),),
    Arg.PTR_TO_SPIN_LOCK: ((int(RegType.MAP_VALUE), 0),),
    Arg.PTR_TO_TIMER: ((int(RegType.MAP_VALUE), 0),),
    Arg.PTR_TO_ALLOC_MEM: ((int(RegType.MEM), RINGBUF),),
    Arg.ALLOC_MEM_RELEASE: ((int(RegType.MEM), RINGBUF),),
    Arg.PTR_TO_FUNC: ((int(RegType.FUNC), 0),),
    Arg.PTR_TO_STACK_OR_NULL: ((int(RegType.STACK), 0),),
    Arg.PTR_TO_CONST_STR: ((int(RegType.MAP_VALUE), 0),),
}
_NULLABLE = frozenset(
    {
        Arg.PTR_TO_MEM_OR_NULL,
        Arg.PTR_TO_CTX_OR_NULL,
        Arg.PTR_TO_STACK_OR_NULL,
        Arg.PTR_TO_MAP_VALUE_OR_NULL,
        Arg.PTR_TO_BTF_ID_OR_NULL,
    }
)
_CONST_ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY)
_SIZES = {Arg.CONST_SIZE: False, Arg.CONST_SIZE_OR_ZERO: True}
_PACKET_READERS = frozenset({ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.XDP, ProgType.CGROUP_SKB})


def _is_null(reg: Reg) -> bool:
    return reg.type == SCALAR and not reg.b.m and not reg.b.v


def check_arg(env: Env, proto: Proto, position: int, meta: CallMeta) -> None:
    """Check argument `position` (from 0) of a call, and note what it says about the call."""
    arg, regno = proto.args[position], position + 1
    if arg is Arg.DONTCARE:
        return
    reg = env.read_reg(regno)
    if arg is Arg.ANYTHING:
        return
    if arg in _NULLABLE and _is_null(reg):
        if arg in (Arg.PTR_TO_MAP_VALUE_OR_NULL, Arg.PTR_TO_BTF_ID_OR_NULL):
            return
    else:
        _check_type(env, reg, regno, arg)
        if arg is Arg.PTR_TO_BTF_ID_OR_NULL:
            _check_struct(env, reg, regno, proto)
        _check_packet(env, reg, proto)
        _check_off(env, reg, regno, arg)
    if arg is Arg.ALLOC_MEM_RELEASE and not reg.ref:
        env.invalid(f"R{regno} must be referenced when passed to release function")
    if reg.ref:
        if meta.ref:
            env.deny(f"more than one arg with ref_obj_id R{regno} {reg.ref} {meta.ref}")
        meta.ref = reg.ref
    _check_kind(env, proto, position, reg, meta)


def _check_kind(env: Env, proto: Proto, position: int, reg: Reg, meta: CallMeta) -> None:
    arg, regno = proto.args[position], position + 1
    if arg is Arg.CONST_MAP_PTR:
        meta.map = reg.map
    elif arg is Arg.PTR_TO_MAP_KEY:
        if meta.map is None:
            env.deny("invalid map_ptr to access map->key")
        check_memory(env, regno, meta.map.key_size, False, False, meta)
        if meta.map.type in _CONST_ARRAYS:
            meta.const_key = _constant_key(env, reg, meta.map.key_size)
    elif arg in _MAP_VALUES:
        if meta.map is None:
            env.deny("invalid map_ptr to access map->value")
        meta.uninit = arg is Arg.UNINIT_MAP_VALUE
        check_memory(env, regno, meta.map.value_size, meta.uninit, False, meta)
    elif arg in _MEMORY:
        meta.uninit = arg is Arg.UNINIT_MEM
    elif arg in _SIZES:
        _check_size(env, proto, position, reg, meta)
    elif arg in _FIXED:
        meta.uninit = True
        check_memory(env, regno, _FIXED[arg], True, False, meta)
        check_alignment(env, reg, 0, _FIXED[arg], strict=True)
    elif arg is Arg.CONST_ALLOC_SIZE_OR_ZERO:
        if reg.b.m:
            env.deny(f"R{regno} is not a known constant'")
        meta.mem_size = reg.b.v
        mark_chain_precision(env, regno)
    elif arg is Arg.PTR_TO_SPIN_LOCK:
        lock_arg(env, reg, regno, proto.id == FuncId.spin_lock)
    elif arg is Arg.PTR_TO_FUNC:
        meta.subprog = reg.n
    elif arg is Arg.PTR_TO_CONST_STR:
        _check_const_str(env, reg, regno)


def _check_type(env: Env, reg: Reg, regno: int, arg: Arg) -> None:
    allowed = _TYPES.get(arg)
    if allowed is None:
        env.reject(95, f"verifier internal error: unsupported arg type {arg.name}")
    nullable = MAYBE_NULL if arg is Arg.PTR_TO_BTF_ID_OR_NULL else 0
    for kind, flags in allowed:
        if reg.type == kind and reg.flags & ~nullable == flags:
            break
    else:
        names = ", ".join(type_name(kind, flags) for kind, flags in allowed if flags != RDONLY)
        if (RegType.MEM, RDONLY) in allowed:
            names += ", buf, trusted_ptr_"
        elif arg is Arg.PTR_TO_SPIN_LOCK:
            names += ", ptr_"
        elif arg is Arg.PTR_TO_BTF_ID_OR_NULL:
            names += ", rcu_ptr_"
        env.deny(f"R{regno} type={reg.name} expected={names}")


def _check_struct(env: Env, reg: Reg, regno: int, proto: Proto) -> None:
    """A pointer to the start of the struct that the helper takes (`btf_struct_ids_match`)."""
    struct, off = reg.map, reg.off & 0xFFFFFFFF
    if off >= struct.size:
        env.say(f"access beyond struct {struct.name} at off {off} size 1")
    if off or struct.name != proto.btf_id:
        env.deny(f"R{regno} is of type {struct.name} but {proto.btf_id} is expected")


def _check_packet(env: Env, reg: Reg, proto: Proto) -> None:
    """Packet data are for helpers that say so, in programs that may read packets
    (`may_access_direct_pkt_data`)."""
    reads = proto.pkt_access and env.spec.type in _PACKET_READERS
    if reg.type in (RegType.PACKET, RegType.PACKET_META) and not reads:
        env.deny("helper access to the packet is not allowed")


def _check_off(env: Env, reg: Reg, regno: int, arg: Arg) -> None:
    if arg is Arg.ALLOC_MEM_RELEASE:
        if reg.off or reg.b.m or reg.b.v:
            env.invalid(f"R{regno} must have zero offset when passed to release func or trusted arg to kfunc")
    elif reg.type in (RegType.CTX, RegType.MAP_PTR, RegType.FUNC):
        check_ptr_off(env, reg, regno)


def _check_size(env: Env, proto: Proto, position: int, reg: Reg, meta: CallMeta) -> None:
    """A size, and the memory that the argument before it points to (`check_mem_size_reg`)."""
    regno, zero_ok = position + 1, _SIZES[proto.args[position]]
    b = reg.b
    meta.max_size = b.umax
    if b.smin < 0:
        env.deny(f"R{regno} min value is negative, either use unsigned or 'var &= const'")
    if b.umin == 0 and not zero_ok:
        env.deny(f"R{regno} invalid zero-sized read: u64=[{b.umin},{b.umax}]")
    if b.umax >= MAX_VAR_OFF:
        env.deny(f"R{regno} unbounded memory access, use 'var &= const' or 'if (var < const)'")
    arg = proto.args[position - 1]
    writes = arg in (Arg.UNINIT_MEM, Arg.WRITTEN_MEM)
    meta.uninit = arg is Arg.UNINIT_MEM and not b.m
    check_memory(env, regno - 1, b.umax, writes, zero_ok, meta)
    mark_chain_precision(env, regno)


def check_memory(env: Env, regno: int, size: int, writes: bool, zero_ok: bool, meta: CallMeta) -> None:
    """`size` bytes that the helper reads or writes (`check_helper_mem_access`)."""
    reg = env.regs[regno]
    kind = reg.type
    if kind in (RegType.PACKET, RegType.PACKET_META):
        check_packet(env, reg, regno, reg.off, size, zero_ok)
    elif kind == RegType.MAP_KEY:
        if writes:
            env.deny(f"R{regno} cannot write into {reg.name}")
        check_region(env, reg, regno, reg.off, size, reg.map.key_size)
    elif kind == RegType.MAP_VALUE:
        _check_map_value(env, reg, regno, size, writes, zero_ok)
    elif kind == RegType.MEM:
        if writes and reg.flags & RDONLY:
            env.deny(f"R{regno} cannot write into {reg.name}")
        check_region(env, reg, regno, reg.off, size, reg.n, zero_ok)
    elif kind == RegType.STACK:
        raw = writes and meta.uninit
        check_stack_range(env, reg, regno, reg.off, size, zero_ok=zero_ok, writes=writes, raw=raw)
        if raw and not reg.b.m:
            meta.raw = (regno, size)
    elif not (zero_ok and not size and _is_null(reg)):
        env.deny(f"R{regno} type={reg.name} expected=fp")


def _check_map_value(env: Env, reg: Reg, regno: int, size: int, writes: bool, zero_ok: bool) -> None:
    target: MapLike = reg.map
    readable, writable = map_rights(target)
    if not (writable if writes else readable):
        what = "write into" if writes else "read from"
        env.deny(
            f"{what} map forbidden, value_size={target.value_size} off={reg.b.smin + reg.off} size={size}"
        )
    check_region(env, reg, regno, reg.off, size, target.value_size, zero_ok)
    low, high = reg.b.smin + reg.off, reg.b.umax + reg.off
    for name, start, length in special_fields(target):
        if low < start + length and start < high + size:
            env.deny(f"{name} cannot be accessed directly by load/store")


def _constant_key(env: Env, reg: Reg, key_size: int) -> int | None:
    """The key when it is a constant in the stack (`get_constant_map_key`)."""
    if reg.type != RegType.STACK or reg.b.m:
        return None
    low = reg.off + reg.b.smin
    spi, at = (-low - 1) // 8, (-low - 1) % 8
    slot = env.state.frames[reg.n].stack[spi]
    kinds = slot.kinds[: at + 1]
    zeros = len(kinds) - len(kinds.rstrip("0"))
    if zeros >= key_size:
        return 0
    if not slot.spilled or slot.reg.type != SCALAR:
        return None
    spilled = len(kinds) - len(kinds.rstrip("r"))
    if spilled != key_size or slot.reg.b.m:
        return None
    masks = Masks(len(env.state.frames) - 1)
    masks.slots[reg.n] |= 1 << spi
    mark_masks_precise(env, env.state, masks, env.insn_idx)
    return slot.reg.b.v


def _check_const_str(env: Env, reg: Reg, regno: int) -> None:
    """A NUL-terminated string in a read-only map (`check_reg_const_str`)."""
    target: MapLike = reg.map
    readable, writable = map_rights(target)
    if writable or not readable or not target.frozen:
        env.deny(f"R{regno} does not point to a readonly map'")
    if reg.b.m:
        env.deny(f"R{regno} is not a constant address'")
    off = reg.off + reg.b.smin
    check_region(env, reg, regno, reg.off, max(target.value_size - off, 0), target.value_size)
    if b"\0" not in target.lookup(bytes(4))[off:]:
        env.invalid("string is not zero-terminated")
