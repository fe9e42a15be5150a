"""Walking a helper call: may it be called, are its arguments right, what does it return
(`check_helper_call`)."""

import errno

from engine.abi.bpf import FuncId, MapType, ProgType
from engine.cpus import possible_cpus
from engine.helpers.proto import Arg, Proto, Ret
from engine.isa import helper_name
from engine.verifier.args import CallMeta, check_arg
from engine.verifier.bounds import UNKNOWN, Bounds, sync, unsigned_range
from engine.verifier.effects import CHANGES_PACKET
from engine.verifier.env import Env
from engine.verifier.formats import format_is_valid
from engine.verifier.funcs import push_callback
from engine.verifier.kernelptr import named_struct
from engine.verifier.mapfuncs import check_map_func
from engine.verifier.mapinfo import has_lock, map_rights
from engine.verifier.packets import invalidate_packets
from engine.verifier.precision import mark_chain_precision
from engine.verifier.programs import check_sleep
from engine.verifier.protos import find_proto
from engine.verifier.regs import (
    MAYBE_NULL,
    NOT_INIT,
    RINGBUF,
    SCALAR,
    UNKNOWN_SCALAR,
    ZERO,
    Reg,
    RegType,
    scalar,
)
from engine.verifier.stack import scrub_bytes
from engine.verifier.state import MISC_SLOT, Ref

__all__ = ["check_leaks", "do_helper_call"]

_MAX_ERRNO = 4095
_ENOTSUPP = 524
_MAP_WRITERS = frozenset(
    {
        FuncId.map_update_elem,
        FuncId.map_delete_elem,
        FuncId.map_push_elem,
        FuncId.map_pop_elem,
    }
)
_BOUNDED_BY_SIZE = frozenset(
    {
        FuncId.get_stack,
        FuncId.get_task_stack,
        FuncId.probe_read_str,
        FuncId.probe_read_kernel_str,
        FuncId.probe_read_user_str,
    }
)


def check_leaks(env: Env, what: str) -> None:
    """Refuse to leave while a lock is held or something acquired was not released
    (`check_resource_leak`)."""
    if env.state.cur.in_callback:
        return
    if env.state.active_lock is not None:
        env.invalid(f"{what} cannot be used inside bpf_spin_lock-ed region")
    if env.state.refs:
        for ref in env.state.refs:
            env.say(f"Unreleased reference id={ref.id} alloc_insn={ref.insn_idx}")
        env.invalid(f"{what} would lead to reference leak")


def _find(env: Env, number: int) -> Proto:
    name = helper_name(number)
    if name == "unknown":
        env.invalid(f"invalid func {name}#{number}")
    proto = find_proto(number)
    if (
        proto is None
        or (proto.progs is not None and env.spec.type not in proto.progs)
        or (proto.attach is not None and env.spec.expected_attach_type not in proto.attach)
    ):
        env.invalid(f"program of this type cannot use helper {name}#{number}")
    if proto.gpl_only and not env.spec.gpl_compatible:
        env.invalid("cannot call GPL-restricted function from non-GPL compatible program")
    return proto


def do_helper_call(env: Env, number: int) -> None:
    """One call of helper `number`."""
    proto = _find(env, number)
    check_sleep(env, number)
    meta = CallMeta(number)
    for position in range(len(proto.args)):
        check_arg(env, proto, position, meta)
    if number in _MAP_WRITERS and meta.map is not None and not map_rights(meta.map)[1]:
        env.deny("write into map forbidden")
    check_map_func(env, meta.map.type if meta.map is not None else None, number)
    _record(env, number, meta)
    if meta.raw is not None:
        regno, size = meta.raw
        reg = env.regs[regno]
        scrub_bytes(env, env.state.frames[reg.n], reg.off + reg.b.smin, size)
    if Arg.ALLOC_MEM_RELEASE in proto.args:
        _release(env, meta.ref)
    _special(env, number, meta)
    for regno in range(6):
        env.regs[regno] = NOT_INIT
    env.scratched_regs |= 1
    env.regs[0] = _result(env, proto, meta)
    if number in CHANGES_PACKET:
        invalidate_packets(env.state)


def _record(env: Env, number: int, meta: CallMeta) -> None:
    """Note for the compiler what was the same on every path: the map, and the key of an array."""
    aux = env.aux[env.insn_idx]
    key = meta.const_key
    if number == FuncId.tail_call:
        index = env.regs[3]
        if index.is_const:
            mark_chain_precision(env, 3)
            key = index.b.v if meta.map is not None and index.b.v < meta.map.max_entries else None
    known = (meta.map, key)
    before = env.dyn_calls.get(env.insn_idx)
    if before is None:
        env.dyn_calls[env.insn_idx] = known
        aux.call_map, aux.const_key = known
    else:
        if before[0] is not meta.map:
            aux.call_map = None
        if before[1] != key:
            aux.const_key = None
    aux.call_subprog = meta.subprog


def _release(env: Env, ref: int) -> None:
    """Give back the reference: whoever holds it holds nothing now (`release_reference`)."""
    state = env.state
    if not any(known.id == ref for known in state.refs):
        env.invalid(f"func {helper_name(env.insns[env.insn_idx].imm)} reference has not been acquired before")
    state.refs = tuple(known for known in state.refs if known.id != ref)
    for frame in state.frames:
        for i, reg in enumerate(frame.regs):
            if reg.ref == ref:
                frame.regs[i] = UNKNOWN_SCALAR
        for i, slot in enumerate(frame.stack):
            if slot.kinds[7] == "r" and slot.reg.ref == ref:
                frame.stack[i] = MISC_SLOT


def _special(env: Env, number: int, meta: CallMeta) -> None:
    """What single helpers need beyond their prototype."""
    if number == FuncId.tail_call:
        check_leaks(env, "tail_call")
    elif number == FuncId.get_func_ip:
        if env.spec.type not in (ProgType.KPROBE, ProgType.TRACING):
            env.reject(
                _ENOTSUPP,
                f"func bpf_get_func_ip#{number} not supported for program type {int(env.spec.type)}",
            )
    elif number == FuncId.snprintf:
        _check_format(env)
    elif number == FuncId.for_each_map_elem:
        push_callback(env, number, meta.subprog, meta.map)
    elif number == FuncId.loop:
        _note_loop(env, meta.subprog)
        mark_chain_precision(env, 1)
        cur = env.state.cur
        turns = env.regs[1]
        limit = turns.b.umax if turns.type == SCALAR else UNKNOWN.umax
        if cur.callback_depth < limit:
            push_callback(env, number, meta.subprog, None)
        else:
            cur.callback_depth = 0
            if env.verbose:
                env.say(f"frame{len(env.state.frames) - 1} bpf_loop iteration limit reached")


def _note_loop(env: Env, callback: int | None) -> None:
    """Whether Linux makes a loop of this bpf_loop: no flags, one callback (`update_loop_inline_state`)."""
    inlined, known = env.loops.get(env.insn_idx, (True, callback))
    if inlined:
        flags = env.regs[4]
        plain = flags.is_const and not flags.b.v
        if plain:
            mark_chain_precision(env, 4)
        inlined = plain and callback == known
    env.loops[env.insn_idx] = inlined, known


def _check_format(env: Env) -> None:
    """bpf_snprintf(out, size, fmt, args, args_size): the format is a constant (`check_bpf_snprintf_call`)."""
    fmt, size = env.regs[3], env.regs[5].b.v
    if size % 8:
        env.stop(errno.EINVAL, "size of the arguments is not a multiple of 8")
    text = fmt.map.lookup(bytes(4))[fmt.off + fmt.b.smin :]
    if not format_is_valid(text, size // 8):
        env.invalid("Invalid format string")


def _result(env: Env, proto: Proto, meta: CallMeta) -> Reg:
    ret = proto.ret
    if ret is Ret.VOID:
        return NOT_INIT
    if ret is Ret.INTEGER:
        return scalar(_bounded(proto, meta))
    if ret is Ret.PTR_TO_BTF_ID and proto.btf_id is not None:
        return named_struct(env, proto.btf_id)
    if ret is Ret.PTR_TO_MAP_VALUE_OR_NULL:
        return _map_value(env, proto, meta)
    if ret is Ret.PTR_TO_ALLOC_MEM_OR_NULL:
        env.next_id()
        id = env.next_id()
        flags = MAYBE_NULL | RINGBUF
        env.state.refs = (*env.state.refs, Ref(id, env.insn_idx))
        return Reg(RegType.MEM, ZERO.b, id=id, flags=flags, n=meta.mem_size, ref=id)
    env.reject(95, f"unknown return type {ret.name} of func {proto.name}#{proto.id}")


def _map_value(env: Env, proto: Proto, meta: CallMeta) -> Reg:
    target = meta.map
    if target is None:
        env.invalid("kernel subsystem misconfigured verifier")
    sure = (
        proto.id == FuncId.map_lookup_elem
        and target.type in (MapType.ARRAY, MapType.PERCPU_ARRAY)
        and meta.const_key is not None
        and meta.const_key < target.max_entries
    )
    if sure:
        id = env.next_id() if has_lock(target) else 0
        return Reg(RegType.MAP_VALUE, ZERO.b, id=id, map=target)
    return Reg(RegType.MAP_VALUE, ZERO.b, id=env.next_id(), flags=MAYBE_NULL, map=target)


def _bounded(proto: Proto, meta: CallMeta) -> Bounds:
    """What is known of a number that a helper returns (`do_refine_retval_range`)."""
    if proto.id in _BOUNDED_BY_SIZE:
        top = meta.max_size
        return sync(0, UNKNOWN.umax, -_MAX_ERRNO, top, 0, UNKNOWN.umax, -_MAX_ERRNO, top, 0, (1 << 32) - 1)
    if proto.id == FuncId.get_smp_processor_id:
        return unsigned_range(0, possible_cpus() - 1)
    return UNKNOWN
