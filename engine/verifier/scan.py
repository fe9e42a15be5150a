"""The pass over single instructions before anything is walked: opcodes, unused fields, maps of LD_IMM64.

The rules are those of `resolve_pseudo_ldimm64` and `check_map_prog_compatibility` (kernel/bpf/verifier.c).
"""

import errno

from engine.abi.bpf import MapType
from engine.btf.types import Func
from engine.isa import Class, Form, Mode, PseudoSrc
from engine.progspec import MapLike
from engine.verifier.env import Env
from engine.verifier.programs import check_map

__all__ = ["MAX_VAR_OFF", "resolve_maps"]

MAX_VAR_OFF = 1 << 29
_MAX_USED_MAPS = 64
_ENOTSUPP = 524
_MAP_SOURCES = (PseudoSrc.MAP_FD, PseudoSrc.MAP_IDX)
_VALUE_SOURCES = (PseudoSrc.MAP_VALUE, PseudoSrc.MAP_IDX_VALUE)


def resolve_maps(env: Env) -> None:
    """Check every opcode and every LD_IMM64, and note the map that each of these refers to."""
    i, count = 0, len(env.insns)
    while i < count:
        insn, row = env.insns[i], env.rows[i]
        code = insn.code
        if code & 7 == Class.LDX and (code & 0xE0 not in (Mode.MEM, Mode.MEMSX) or insn.imm):
            env.invalid("BPF_LDX uses reserved fields")
        if row is None or row.form is Form.CALLX:
            env.invalid(f"unknown opcode {code:02x}")
        if row.form is Form.LD_IMM64:
            _check_wide(env, i)
            i += 1
        i += 1


def _check_wide(env: Env, i: int) -> None:
    insn = env.insns[i]
    second = env.insns[i + 1] if i + 1 < len(env.insns) else None
    if second is None or second.code or second.dst or second.src or second.off:
        env.invalid("invalid bpf_ld_imm64 insn")
    source = insn.src
    if source == PseudoSrc.NONE:
        return
    aux = env.aux[i]
    if source == PseudoSrc.BTF_ID:
        env.symbols[i] = _find_symbol(env, insn.imm, second.imm)
        return
    if source == PseudoSrc.FUNC:
        aux.target = i + insn.imm + 1
        return
    if source not in (*_MAP_SOURCES, *_VALUE_SOURCES) or (source in _MAP_SOURCES and second.imm):
        env.invalid("unrecognized bpf_ld_imm64 insn")
    aux.map = _find_map(env, source, insn.imm)
    if source in _VALUE_SOURCES:
        aux.map_off = second.imm & 0xFFFFFFFF
        _check_direct_value(env, aux.map, aux.map_off)


def _find_symbol(env: Env, type_id: int, btf_fd: int) -> int:
    """Address of the kernel symbol that a type describes (`check_pseudo_btf_id`).

    The modelled kernel has functions and no variables, and no modules whose types `btf_fd` could be.
    """
    btf = env.spec.kernel_btf
    if btf_fd:
        env.invalid("invalid module BTF object FD specified.")
    if btf is None:
        env.invalid("kernel is missing BTF, make sure CONFIG_DEBUG_INFO_BTF=y is specified in Kconfig.")
    if not 0 <= type_id < len(btf):
        env.reject(errno.ENOENT, f"ldimm64 insn specifies invalid btf_id {type_id}.")
    record = btf.type(type_id)
    if not isinstance(record, Func):
        env.invalid(f"pseudo btf_id {type_id} in ldimm64 isn't KIND_VAR or KIND_FUNC")
    address: int | None = env.spec.symbol(record.name)
    if address is None:
        message = f"ldimm64 failed to find the address for kernel symbol '{record.name}'."
        env.reject(errno.ENOENT, message)
    return address


def _find_map(env: Env, source: int, number: int) -> MapLike:
    spec = env.spec
    if source in (PseudoSrc.MAP_IDX, PseudoSrc.MAP_IDX_VALUE):
        if not spec.fd_array:
            env.reject(errno.EPROTO, "fd_idx without fd_array is invalid")
        found = spec.fd_array[number] if 0 <= number < len(spec.fd_array) else None
    else:
        found = spec.maps.get(number)
    if found is None:
        env.reject(errno.EBADF, f"fd {number} is not pointing to valid bpf_map")
    if not any(used is found for used in env.used_maps):
        if len(env.used_maps) >= _MAX_USED_MAPS:
            message = f"The total number of maps per program has reached the limit of {_MAX_USED_MAPS}"
            env.reject(errno.E2BIG, message)
        check_map(env, found)
        env.used_maps.append(found)
    return found


def _check_direct_value(env: Env, target: MapLike, off: int) -> None:
    if target.type != MapType.ARRAY:
        env.invalid("no direct value access support for this map type")
    if off >= MAX_VAR_OFF:
        env.invalid(f"direct value offset of {off} is not allowed")
    if target.max_entries != 1 or off >= target.value_size:
        number = _ENOTSUPP if target.max_entries != 1 else errno.EINVAL
        env.reject(number, f"invalid access to map value pointer, value_size={target.value_size} off={off}")
