"""Global functions: verified apart from their callers, for any arguments that their BTF allows. Of static
ones BTF may be wrong, since compilers remove arguments; that is said in the log only.

The rules are those of `btf_prepare_func_args` (kernel/bpf/btf.c) and `btf_check_func_arg_match`
(kernel/bpf/verifier.c). A pointer to a struct or number is memory of that size, or null unless its
parameter has the attribute `arg:nonnull`; one with `arg:ctx` is the context.
"""

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

from engine.abi.bpf import ProgType
from engine.btf import Btf, Kind
from engine.btf.types import Composite, DeclTag, Func, FuncProto, Int, Modifier, Pointer, Typedef, Void
from engine.btf.types import Enum as BtfEnum
from engine.errors import KernelError
from engine.progspec import FuncInfo, FuncLinkage
from engine.verifier.args import CallMeta, check_memory
from engine.verifier.bounds import const_bounds
from engine.verifier.env import Env, Reject
from engine.verifier.memory import check_ptr_off
from engine.verifier.regs import MAYBE_NULL, SCALAR, UNKNOWN_SCALAR, Reg, RegType
from engine.verifier.state import MAIN_CALLSITE, Frame, State

__all__ = ["check_global_args", "check_main", "global_entry", "note_static_args"]

_MAX_ARGS = 5
_WORD = 8
_CTX_TAG, _NONNULL_TAG = "arg:ctx", "arg:nonnull"
_KNOWN_TAGS = {_CTX_TAG, _NONNULL_TAG}
_ANY_CONTEXT = (ProgType.TRACEPOINT, ProgType.SYSCALL)
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
    nonnull: bool = False


def _is_context(env: Env, btf: Btf, type_id: int) -> bool:
    """Whether a pointer to this type is one to the program's context."""
    record = btf.type(type_id)
    while isinstance(record, Modifier):
        record = btf.type(record.type)
    if isinstance(record, Typedef) and record.name == "bpf_user_pt_regs_t":
        return env.spec.type == ProgType.KPROBE
    target = btf.resolve(type_id)
    return isinstance(target, Composite) and target.name == _CONTEXTS.get(env.spec.type)


def _check_tagged_context(env: Env, btf: Btf, number: int, type_id: int) -> None:
    """`arg:ctx` on a pointer to this type (`btf_validate_prog_ctx_type`)."""
    target = btf.resolve(type_id)
    known = (
        isinstance(target, Void)
        or env.spec.type in _ANY_CONTEXT
        or (env.spec.type == ProgType.RAW_TRACEPOINT and isinstance(target, Int) and target.size == _WORD)
        or _is_context(env, btf, type_id)
    )
    if not known:
        wanted = _CONTEXTS.get(env.spec.type)
        what = f"`struct {wanted} *`" if wanted is not None else "void pointer"
        env.invalid(f"arg#{number} should be {what}")


def _tags(btf: Btf, func_id: int, number: int) -> set[str]:
    """The `arg:` attributes of a parameter."""
    records = (btf.type(type_id) for type_id in range(1, len(btf)))
    return {
        record.name
        for record in records
        if isinstance(record, DeclTag) and (record.type, record.component) == (func_id, number)
    } & _KNOWN_TAGS


def _param(env: Env, btf: Btf, name: str, number: int, type_id: int, tags: set[str]) -> _Param:
    """What a parameter of a global function takes."""
    record = btf.resolve(type_id)
    if isinstance(record, Int | BtfEnum):
        return _Param(_Kind.SCALAR)
    if isinstance(record, Pointer):
        if _CTX_TAG in tags or _is_context(env, btf, record.type):
            if _CTX_TAG in tags:
                _check_tagged_context(env, btf, number, record.type)
            return _Param(_Kind.CTX)
        try:
            return _Param(_Kind.MEM, btf.size_of(record.type), _NONNULL_TAG in tags)
        except KernelError:
            target = btf.resolve(record.type)
            kind = "UNKNOWN" if target.kind == Kind.UNKN else Kind(target.kind).name
            env.invalid(f"arg#{number} reference type('{kind} {target.name}') size cannot be determined: -22")
    env.invalid(f"Arg#{number} type {Kind(record.kind).name} in {name}() is not supported yet.")


def _prototype(env: Env, subprog: int) -> tuple[Btf, FuncInfo, FuncProto] | None:
    """What BTF says of a function."""
    start, btf = env.subprogs[subprog].start, env.spec.btf
    info = next((info for info in env.spec.func_info if info.insn_off == start), None)
    func = btf.type(info.type_id) if info is not None and isinstance(btf, Btf) else None
    proto = btf.type(func.type) if isinstance(func, Func) else None
    if info is None or not isinstance(btf, Btf) or not isinstance(proto, FuncProto):
        return None
    return btf, info, proto


def _params(env: Env, subprog: int) -> list[_Param]:
    """What BTF says of the arguments of a global function."""
    known: list[_Param] | None = env.params.get(subprog)
    if known is not None:
        return known
    name, described = env.subprogs[subprog].name, _prototype(env, subprog)
    if described is None:
        env.invalid(f"func#{subprog} ('{name}') has no prototype")
    btf, info, proto = described
    if len(proto.params) > _MAX_ARGS:
        env.invalid(f"Global function {name}() with {len(proto.params)} > {_MAX_ARGS} args. Buggy compiler.")
    if not isinstance(btf.resolve(proto.type), Int | BtfEnum):
        env.invalid(f"Global function {name}() doesn't return scalar. Only those are supported.")
    found = [
        _param(env, btf, name, i, param.type, _tags(btf, info.type_id, i))
        for i, param in enumerate(proto.params)
    ]
    env.params[subprog] = found
    return found


def _static_params(env: Env, subprog: int) -> list[_Param] | None:
    """The same of a static function, where each is a number or the context; None where not."""
    described = _prototype(env, subprog)
    if described is None:
        return None
    btf, info, proto = described
    if len(proto.params) > _MAX_ARGS or not isinstance(btf.resolve(proto.type), Int | BtfEnum):
        return None
    found = []
    for number, param in enumerate(proto.params):
        if _tags(btf, info.type_id, number):
            env.say(f"arg#{number} type tag is not supported in static functions")
            return None
        record = btf.resolve(param.type)
        if isinstance(record, Pointer) and _is_context(env, btf, record.type):
            found.append(_Param(_Kind.CTX))
        elif isinstance(record, Int | BtfEnum):
            found.append(_Param(_Kind.SCALAR))
        else:
            return None
    return found


def note_static_args(env: Env, subprog: int) -> None:
    """Say in the log, once, that a static function is not called with what its BTF says."""
    if not env.spec.func_info or subprog in env.unreliable:
        return
    params = _static_params(env, subprog)
    if params is None:
        env.unreliable.add(subprog)
        return
    try:
        _check_args(env, params)
    except Reject:
        env.unreliable.add(subprog)


def check_global_args(env: Env, subprog: int) -> None:
    """Refuse a call whose arguments are not what the function was, or will be, verified for."""
    _check_args(env, _params(env, subprog))


def _check_args(env: Env, params: list[_Param]) -> None:
    for number, param in enumerate(params):
        regno = number + 1
        reg = env.regs[regno]
        if param.kind is _Kind.SCALAR:
            if reg.type != SCALAR:
                env.invalid(f"R{regno} is not a scalar")
        elif param.kind is _Kind.CTX:
            if reg.type != RegType.CTX or reg.flags:
                env.invalid(f"R{regno} expects pointer to ctx")
            check_ptr_off(env, reg, regno)
        else:
            _check_memory(env, regno, reg, param)


def _check_memory(env: Env, regno: int, reg: Reg, param: _Param) -> None:
    """Memory that the function may read and write, or null unless that is excluded.

    Linux 6.18 takes a constant 0 even where it is excluded, and the function would then follow it.
    """
    if reg.is_const and not reg.b.v:
        if param.nonnull:
            env.invalid(f"arg#{regno - 1} is expected to be non-NULL")
        return
    if reg.flags & MAYBE_NULL:
        solid = reg.copy()
        solid.flags &= ~MAYBE_NULL
        env.regs[regno] = solid
    for writes in (False, True):
        check_memory(env, regno, param.size, writes, False, CallMeta(0))
    env.regs[regno] = reg
    if param.nonnull and reg.flags & MAYBE_NULL:
        env.invalid(f"arg#{regno - 1} is expected to be non-NULL")


def check_main(env: Env) -> None:
    """Look at the types of the main program as at those of a global function; that they are no good is said
    in the log, and does no harm (`do_check_common`)."""
    if env.spec.func_info:
        with suppress(Reject):
            if env.spec.func_info[0].linkage == FuncLinkage.GLOBAL:
                _params(env, 0)
            else:
                _static_params(env, 0)


def global_entry(env: Env, subprog: int) -> State:
    """The state in which a global function begins, with any arguments of its prototype."""
    frame = Frame(MAIN_CALLSITE, 0, subprog)
    for number, param in enumerate(_params(env, subprog)):
        if param.kind is _Kind.SCALAR:
            reg = UNKNOWN_SCALAR
        elif param.kind is _Kind.CTX:
            reg = Reg(RegType.CTX, const_bounds(0))
        else:
            flags, id = (0, 0) if param.nonnull else (MAYBE_NULL, env.next_id())
            reg = Reg(RegType.MEM, const_bounds(0), id=id, flags=flags, n=param.size)
        frame.regs[number + 1] = reg
    return State([frame])
