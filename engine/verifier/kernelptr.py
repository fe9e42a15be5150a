"""Pointers into kernel objects: arguments of TRACING programs, and loads that follow their BTF.

The rules are those of `btf_ctx_access` and `btf_struct_access` (kernel/bpf/btf.c), within what is needed to
read: such a load may fault and then gives 0, so types say what a value is, not whether reading it is safe.
"""

import errno

from engine.abi.bpf import AttachType, ProgType
from engine.btf import Btf, Kind
from engine.btf.types import Composite, Func, FuncProto, Int, Pointer, Typedef, Void
from engine.progspec import ProgSpec
from engine.verifier.bounds import const_bounds
from engine.verifier.env import Env
from engine.verifier.fieldwalk import walk_struct
from engine.verifier.regs import RDONLY, TRUSTED, UNKNOWN_SCALAR, UNTRUSTED, Reg, RegType

__all__ = ["attach_target", "check_attach_target", "load_argument", "load_member", "named_struct"]

_MAX_ARGS = 12
_ON_FUNCTIONS = (AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT)


def attach_target(spec: ProgSpec) -> tuple[str, FuncProto] | None:
    """Name and prototype of what a TRACING program is attached to; None when there is no such thing.

    A raw tracepoint's hidden first argument is left out.
    """
    btf = spec.kernel_btf
    if not isinstance(btf, Btf) or not 0 < spec.attach_btf_id < len(btf):
        return None
    record = btf.type(spec.attach_btf_id)
    if spec.expected_attach_type == AttachType.TRACE_RAW_TP:
        if not isinstance(record, Typedef) or not record.name.startswith("btf_trace_"):
            return None
        pointer = btf.resolve(record.type)
        proto = btf.resolve(pointer.type) if isinstance(pointer, Pointer) else None
        if not isinstance(proto, FuncProto):
            return None
        return record.name, FuncProto(proto.type, proto.params[1:])
    if spec.expected_attach_type in _ON_FUNCTIONS and isinstance(record, Func):
        proto = btf.type(record.type)
        if isinstance(proto, FuncProto):
            return record.name, proto
    return None


def check_attach_target(env: Env) -> None:
    """Refuse a TRACING program that is attached to nothing that is known (`bpf_check_attach_target`)."""
    spec = env.spec
    if spec.type != ProgType.TRACING:
        return
    if not spec.attach_btf_id:
        env.invalid("Tracing programs must provide btf_id")
    if attach_target(spec) is None:
        env.invalid(f"attach_btf_id {spec.attach_btf_id} is not something to attach to")


def _pointed(btf: Btf, type_id: int, flags: int) -> Reg:
    """What a value of a type is: a pointer to a struct, or a number."""
    record = btf.resolve(type_id)
    return _pointed_by(btf, record, flags) if isinstance(record, Pointer) else UNKNOWN_SCALAR


def _pointed_by(btf: Btf, pointer: Pointer, flags: int) -> Reg:
    target_id = btf.skip(pointer.type)
    target = btf.type(target_id)
    if isinstance(target, Composite) and target.kind == Kind.STRUCT and target.name:
        return Reg(RegType.BTF, const_bounds(0), flags=flags, map=target, n=target_id)
    return UNKNOWN_SCALAR


def _counted(spec: ProgSpec, proto: FuncProto, number: int) -> int:
    """Which argument Linux takes one that is not there for: it counts a raw tracepoint's hidden one, then
    what is returned, and all the rest as one (`btf_ctx_arg_idx`)."""
    count = len(proto.params) + (spec.expected_attach_type == AttachType.TRACE_RAW_TP)
    returns = not isinstance(spec.kernel_btf.resolve(proto.type), Void)
    return number if number < count + returns else count + 1


def load_argument(env: Env, off: int, size: int) -> Reg | None:
    """An argument, or for TRACE_FEXIT the value returned, from the context (`tracing_prog_ctx_access`,
    `btf_ctx_access`); None where there is none, with the reason in the log."""
    spec = env.spec
    target = attach_target(spec)
    if target is None or not 0 <= off < 8 * _MAX_ARGS or off % size:
        return None
    name, proto = target[0].removeprefix("btf_trace_"), target[1]
    number = off // 8
    if off % 8:
        env.say(f"func '{name}' offset {off} is not multiple of 8")
        return None
    if number < len(proto.params):
        type_id = proto.params[number].type
    elif number == len(proto.params) and spec.expected_attach_type == AttachType.TRACE_FEXIT:
        type_id = proto.type
    else:
        env.say(f"func '{name}' doesn't have {_counted(spec, proto, number) + 1}-th argument")
        return None
    record = spec.kernel_btf.resolve(type_id)
    if isinstance(record, Pointer):
        to = spec.kernel_btf.resolve(record.type)
        if size != 8:
            env.say(f"func '{name}' size {size} must be 8")
            return None
        if not isinstance(to, Void | Int | Composite):
            env.say(f"func '{name}' arg{number} type {to.kind.name} is not a struct")
            return None
    trusted = TRUSTED if spec.expected_attach_type == AttachType.TRACE_RAW_TP else 0
    found = _pointed(spec.kernel_btf, type_id, trusted)
    if found.type == RegType.BTF:
        env.say(
            f"func '{name}' arg{number} has btf_id {found.n} type {found.map.kind.name} '{found.map.name}'"
        )
    return found


def load_member(env: Env, reg: Reg, regno: int, off: int, size: int) -> Reg:
    """What a load through a pointer to a kernel struct gives (`check_ptr_to_btf_access`)."""
    name = reg.map.name
    if not env.spec.gpl_compatible:
        env.invalid(f"Cannot access kernel 'struct {name}' from non-GPL compatible program")
    if off < 0:
        env.deny(f"R{regno} is ptr_{name} invalid negative access: off={off}")
    if reg.b.m or reg.b.v:
        env.deny(f"R{regno} is ptr_{name} invalid variable offset: off={off}, var_off={reg.b.v:#x}")
    (pointer, in_union), btf = walk_struct(env, reg.map, off, size), env.spec.kernel_btf
    if pointer is None:
        return UNKNOWN_SCALAR
    if not isinstance(btf.resolve(pointer.type), Composite):
        return Reg(RegType.MEM, const_bounds(0), flags=RDONLY | UNTRUSTED)
    return _pointed_by(btf, pointer, UNTRUSTED if in_union else reg.flags & UNTRUSTED)


def named_struct(env: Env, name: str) -> Reg:
    """A trusted pointer to struct `name` of the kernel."""
    btf = env.spec.kernel_btf
    type_id = btf.find(name, Kind.STRUCT) if isinstance(btf, Btf) else None
    if type_id is None:
        env.reject(errno.EINVAL, f"struct {name} is not in the kernel's BTF")
    return Reg(RegType.BTF, const_bounds(0), flags=TRUSTED, map=btf.type(type_id), n=type_id)
