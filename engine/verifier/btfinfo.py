"""What comes with a program beside its instructions: types of its functions, lines of its source.

The rules are those of `check_btf_func_early`, `check_btf_func` and `check_btf_line` (kernel/bpf/verifier.c).
"""

from engine.btf import Btf
from engine.btf.types import Enum, Func, FuncProto, Int
from engine.verifier.env import Env

__all__ = ["check_btf_info", "check_func_records"]

_SMALL = (1, 2, 4, 8)


def check_func_records(env: Env) -> None:
    """Records of functions stand in the order of the functions, and name types of functions."""
    before = -1
    for info in env.spec.func_info:
        if before < 0 and info.insn_off:
            env.invalid(f"nonzero insn_off {info.insn_off} for the first func info record")
        if info.insn_off <= before:
            env.invalid(
                f"same or smaller insn offset ({info.insn_off}) than previous func info record ({before})"
            )
        if isinstance(env.spec.btf, Btf) and _function(env.spec.btf, info.type_id) is None:
            env.invalid(f"invalid type id {info.type_id} in func info")
        before = info.insn_off


def check_btf_info(env: Env) -> None:
    """Each function has its record; one that another program may end, or a failing packet load, returns a
    number."""
    if env.spec.func_info:
        _check_functions(env)
    else:
        for subprog in env.subprogs[1:]:
            if subprog.has_ld_abs:
                env.invalid("LD_ABS is not allowed in subprogs without BTF")
            if subprog.has_tail_call:
                env.invalid("tail_call is not allowed in subprogs without BTF")
    _check_lines(env)


def _check_functions(env: Env) -> None:
    infos = env.spec.func_info
    if len(infos) != len(env.subprogs):
        env.invalid("number of funcs in func_info doesn't match number of subprogs")
    for number, (info, subprog) in enumerate(zip(infos, env.subprogs, strict=True)):
        if info.insn_off != subprog.start:
            env.invalid("func_info BTF section doesn't match subprog layout in BPF program")
        if number and not _returns_number(env.spec.btf, info.type_id):
            if subprog.has_ld_abs:
                env.invalid("LD_ABS is only allowed in functions that return 'int'.")
            if subprog.has_tail_call:
                env.invalid("tail_call is only allowed in functions that return 'int'.")


def _function(btf: Btf, type_id: int) -> FuncProto | None:
    record = btf.type(type_id) if 0 < type_id < len(btf) else None
    proto = btf.type(record.type) if isinstance(record, Func) else None
    return proto if isinstance(proto, FuncProto) else None


def _returns_number(btf: object, type_id: int) -> bool:
    proto = _function(btf, type_id) if isinstance(btf, Btf) else None
    if proto is None or not isinstance(btf, Btf):
        return False
    result = btf.resolve(proto.type)
    return isinstance(result, Enum) or (isinstance(result, Int) and result.size in _SMALL)


def _check_lines(env: Env) -> None:
    lines = env.spec.line_info
    if not lines:
        return
    count, before, subprog = len(env.insns), 0, 0
    for number, line in enumerate(lines):
        off = line.insn_off
        if (number and off <= before) or off >= count:
            env.invalid(
                f"Invalid line_info[{number}].insn_off:{off} (prev_offset:{before} prog->len:{count})"
            )
        if not env.insns[off].code:
            env.invalid(f"Invalid insn code at line_info[{number}].insn_off")
        if subprog < len(env.subprogs):
            start = env.subprogs[subprog].start
            if off == start:
                subprog += 1
            elif start < off:
                env.invalid(f"missing bpf_line_info for func#{subprog}")
        before = off
    missing = len(env.subprogs) - subprog
    if missing:
        env.invalid(f"missing bpf_line_info for {missing} funcs starting from func#{subprog}")
