"""Global functions: verified apart from their callers, for any arguments that their BTF allows.

The rules are those of `btf_prepare_func_args` (kernel/bpf/btf.c) and `btf_check_func_arg_match`
(kernel/bpf/verifier.c). A pointer to a struct or number is memory of that size, or null.
"""

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from engine.abi.bpf import ProgType
from engine.btf import Btf, Kind
from engine.btf.types import Composite, Func, FuncProto, Int, Modifier, Pointer, Typedef
from engine.btf.types import Enum as BtfEnum
from engine.errors import KernelError
from engine.verifier.args import CallMeta, check_memory
from engine.verifier.bounds import const_bounds
from engine.verifier.env import Env, Reject
from engine.verifier.memory import check_ptr_off
from engine.verifier.regs import MAYBE_NULL, SCALAR, UNKNOWN_SCALAR, Reg, RegType
from engine.verifier.state import MAIN_CALLSITE, Frame, State

__all__ = ["check_global_args", "check_main", "global_entry"]

_MAX_ARGS = 5
_CONTEXTS = {
    ProgType.KPROBE: "pt_regs",
    ProgType.SOCKET_FILTER: "__sk_buff",
    ProgType.SCHED_CLS: "__sk_buff",
    ProgType.SCHED_ACT: "__sk_buff",
    ProgType.CGROUP_SKB: "__sk_buff",
    ProgType.XDP: "xdp_md",
    ProgType.PERF_EVENT: "bpf_perf_event_data",
    ProgType.RAW_TRACEPOINT: "bpf_raw_tracepoint_args",
}


class _Kind(Enum):
    SCALAR = auto()
    CTX = auto()
    MEM = auto()


@dataclass(frozen=True, slots=True)
class _Param:
    kind: _Kind
    size: int = 0


def _is_context(env: Env, btf: Btf, type_id: int) -> bool:
    """Whether a pointer to this type is one to the program's context."""
    record = btf.type(type_id)
    while isinstance(record, Modifier):
        record = btf.type(record.type)
    if isinstance(record, Typedef) and record.name == "bpf_user_pt_regs_t":
        return env.spec.type == ProgType.KPROBE
    target = btf.resolve(type_id)
    return isinstance(target, Composite) and target.name == _CONTEXTS.get(env.spec.type)


def _param(env: Env, btf: Btf, name: str, number: int, type_id: int) -> _Param:
    record = btf.resolve(type_id)
    if isinstance(record, Int | BtfEnum):
        return _Param(_Kind.SCALAR)
    if isinstance(record, Pointer):
        if _is_context(env, btf, record.type):
            return _Param(_Kind.CTX)
        try:
            return _Param(_Kind.MEM, btf.size_of(record.type))
        except KernelError:
            target = btf.resolve(record.type)
            kind = "UNKNOWN" if target.kind == Kind.UNKN else Kind(target.kind).name
            env.invalid(f"arg#{number} reference type('{kind} {target.name}') size cannot be determined: -22")
    env.invalid(f"Arg#{number} type {Kind(record.kind).name} in {name}() is not supported yet.")


def _params(env: Env, subprog: int) -> list[_Param]:
    """What BTF says of the arguments of a global function."""
    start, name, btf = env.subprogs[subprog].start, env.subprogs[subprog].name, env.spec.btf
    info = next((info for info in env.spec.func_info if info.insn_off == start), None)
    func = btf.type(info.type_id) if info is not None and isinstance(btf, Btf) else None
    proto = btf.type(func.type) if isinstance(func, Func) else None
    if not isinstance(proto, FuncProto):
        env.invalid(f"func#{subprog} ('{name}') has no prototype")
    if len(proto.params) > _MAX_ARGS:
        env.invalid(f"Global function {name}() with {len(proto.params)} > {_MAX_ARGS} args. Buggy compiler.")
    if not isinstance(btf.resolve(proto.type), Int | BtfEnum):
        env.invalid(f"Global function {name}() doesn't return scalar. Only those are supported.")
    return [_param(env, btf, name, i, param.type) for i, param in enumerate(proto.params)]


def check_global_args(env: Env, subprog: int) -> None:
    """Refuse a call whose arguments are not what the function was, or will be, verified for."""
    for number, param in enumerate(_params(env, subprog)):
        regno = number + 1
        reg = env.read_reg(regno)
        if param.kind is _Kind.SCALAR:
            if reg.type != SCALAR:
                env.invalid(f"R{regno} is not a scalar")
        elif param.kind is _Kind.CTX:
            if reg.type != RegType.CTX or reg.flags:
                env.invalid(f"R{regno} expects pointer to ctx")
            check_ptr_off(env, reg, regno)
        else:
            _check_memory(env, regno, reg, param.size)


def _check_memory(env: Env, regno: int, reg: Reg, size: int) -> None:
    """Memory that the function may read and write, or null."""
    if reg.is_const and not reg.b.v:
        return
    if reg.flags & MAYBE_NULL:
        solid = reg.copy()
        solid.flags &= ~MAYBE_NULL
        env.regs[regno] = solid
    for writes in (False, True):
        check_memory(env, regno, size, writes, False, CallMeta(0))
    env.regs[regno] = reg


def check_main(env: Env) -> None:
    """Look at the types of the main program as at those of a global function; that they are no good is said
    in the log, and does no harm (`do_check_common`)."""
    if env.spec.func_info:
        with suppress(Reject):
            _params(env, 0)


def global_entry(env: Env, subprog: int) -> State:
    """The state in which a global function begins, with any arguments of its prototype."""
    frame = Frame(MAIN_CALLSITE, 0, subprog)
    for number, param in enumerate(_params(env, subprog)):
        if param.kind is _Kind.SCALAR:
            reg = UNKNOWN_SCALAR
        elif param.kind is _Kind.CTX:
            reg = Reg(RegType.CTX, const_bounds(0))
        else:
            reg = Reg(RegType.MEM, const_bounds(0), id=env.next_id(), flags=MAYBE_NULL, n=param.size)
        frame.regs[number + 1] = reg
    return State([frame])
