"""Reads and writes of the stack: spills and fills of registers, zero and misc bytes, variable offsets.

The rules are those of `check_stack_read`, `check_stack_write` and `check_stack_range_initialized`. As for
every
privileged loader, stack that was never written may be read; its value is then unknown.
"""

import errno

from engine.isa import STACK_SIZE, Class, Insn
from engine.verifier.arith import with_link
from engine.verifier.env import Env
from engine.verifier.precision import mark_chain_precision
from engine.verifier.regs import SCALAR, UNKNOWN_SCALAR, ZERO, Reg, RegType, const_reg
from engine.verifier.scan import MAX_VAR_OFF
from engine.verifier.state import INVALID_SLOT, Frame, Slot, spill_slot
from engine.verifier.tnum import tnum_str

__all__ = ["check_stack_bounds", "check_stack_range", "read_stack", "scrub_bytes", "write_stack"]

_MISC_OF = str.maketrans("rd", "mm")
_SCRUBBED = str.maketrans("rd0", "mmm")
"""What becomes of a slot whose spilled register is overwritten in part (`scrub_spilled_slot`)."""


def check_stack_bounds(env: Env, reg: Reg, regno: int, off: int, size: int, writes: bool) -> tuple[int, int]:
    """First offset and last offset (of a first byte) that an access may have; the frame grows to hold
    it."""
    b = reg.b
    kind = " write to" if writes else " read from"
    if not b.m:
        low = high = b.smin + off
    else:
        if b.smax >= MAX_VAR_OFF or b.smin <= -MAX_VAR_OFF:
            env.deny(f"invalid unbounded variable-offset{kind} stack R{regno}")
        low, high = b.smin + off, b.smax + off
    number = 0
    if not -STACK_SIZE <= low <= -1:
        number = errno.EACCES
    elif high + size > 0:
        number = errno.EINVAL
    elif size < 0:
        number = errno.EFAULT
    if number:
        if not b.m:
            env.reject(number, f"invalid{kind} stack R{regno} off={low} size={size}")
        where = f"var_off={tnum_str(b.v, b.m)} off={off} size={size}"
        env.reject(number, f"invalid variable-offset{kind} stack R{regno} {where}")
    frame = env.state.frames[reg.n]
    need = (7 - low) // 8
    if need > len(frame.stack):
        frame.stack += [INVALID_SLOT] * (need - len(frame.stack))
    subprog = env.subprogs[frame.subprog]
    subprog.stack_depth = max(subprog.stack_depth, 8 * need)
    return low, high


def _set_kinds(slot: Slot, first: int, count: int, kind: str, *, scrub: bool) -> Slot:
    """The slot with `count` bytes from byte `first` (0 is the lowest address) overwritten; a spill is
    broken."""
    kinds = slot.kinds.translate(_SCRUBBED) if scrub else slot.kinds
    end = 8 - first
    return Slot(kinds[: end - count] + kind * count + kinds[end:])


def scrub_bytes(env: Env, frame: Frame, low: int, count: int) -> None:
    """Bytes fp+low .. were written with something unknown."""
    while count > 0:
        spi = (-low - 1) // 8
        first = (low + 512) % 8
        step = min(count, 8 - first)
        slot = frame.stack[spi]
        frame.stack[spi] = _set_kinds(slot, first, step, "m", scrub=slot.spilled or "d" in slot.kinds)
        env.touch_slot(spi)
        low += step
        count -= step


def write_stack(env: Env, ptr: Reg, regno: int, off: int, size: int, value_regno: int, insn: Insn) -> None:
    """A store; `value_regno` is -1 for an immediate or an unknown value."""
    low, high = check_stack_bounds(env, ptr, regno, off, size, True)
    frame = env.state.frames[ptr.n]
    whole = size == 8 and not ptr.b.m
    env.stack_live.write(env.insn_idx, 1 << (64 * ptr.n + (-low - 1) // 8) if whole else 0)
    if ptr.b.m:
        _write_variable(env, frame, low, high + size, value_regno, insn)
        return
    spi = (-low - 1) // 8
    slot = frame.stack[spi]
    reg = env.regs[value_regno] if value_regno >= 0 else None
    store_imm = insn.code & 7 == Class.ST and insn.code & 0xE0 == 0x60
    aligned = low % 8 == 0
    env.touch_slot(spi)
    if reg is not None and aligned and reg.type == SCALAR:
        fits = reg.b.umax.bit_length() <= 8 * size
        if fits:
            reg = with_link(env, reg)
            env.regs[value_regno] = reg
        elif reg.id:
            reg = reg.with_id(0)
            reg.off = 0
        frame.stack[spi] = spill_slot(reg, size, slot)
    elif reg is None and aligned and store_imm:
        frame.stack[spi] = spill_slot(const_reg(insn.imm), size, slot)
    elif reg is not None and reg.type != SCALAR and reg.type != RegType.DYNPTR:
        if size != 8:
            env.deny("invalid size of register spill")
        if frame is not env.state.frames[-1] and reg.type == RegType.STACK:
            env.invalid("cannot spill pointers to stack into stack frame of the caller")
        frame.stack[spi] = spill_slot(reg, size, slot)
    else:
        kind = "m"
        if (reg is not None and reg.is_const and not reg.b.v) or (reg is None and store_imm and not insn.imm):
            if value_regno >= 0:
                mark_chain_precision(env, value_regno)
            kind = "0"
        scrub = slot.spilled or "d" in slot.kinds
        frame.stack[spi] = _set_kinds(slot, low % 8, size, kind, scrub=scrub)
        return
    env.push_history((ptr.n, spi))


def _write_variable(env: Env, frame: Frame, low: int, end: int, value_regno: int, insn: Insn) -> None:
    """A store somewhere in fp+low .. fp+end: every byte there may change."""
    reg = env.regs[value_regno] if value_regno >= 0 else None
    store_imm = insn.code & 7 == Class.ST and insn.code & 0xE0 == 0x60
    zero = (reg is not None and reg.is_const and not reg.b.v) or (reg is None and store_imm and not insn.imm)
    zero_used = False
    for byte in range(low, end):
        spi, at = (-byte - 1) // 8, -byte - 1 & 7
        slot = frame.stack[spi]
        kind = slot.kinds[at]
        env.touch_slot(spi)
        if zero and kind == "r" and slot.reg.is_const and not slot.reg.b.v:
            zero_used = True
            continue
        kinds = slot.kinds
        if kind == "d":
            kinds = kinds.translate(_MISC_OF)
        new = "0" if zero and kind == "0" else "m"
        zero_used = zero_used or new == "0"
        kinds = kinds[:at] + new + kinds[at + 1 :]
        frame.stack[spi] = Slot(kinds.translate(_MISC_OF) if "r" in slot.kinds else kinds)
    if zero_used and value_regno >= 0:
        mark_chain_precision(env, value_regno)


def read_stack(env: Env, ptr: Reg, regno: int, off: int, size: int, dst: int) -> None:
    """A load into register `dst` (-1: the value is not kept)."""
    if ptr.b.m:
        if dst < 0:
            where = f"var_off={tnum_str(ptr.b.v, ptr.b.m)} off={off} size={size}"
            env.deny(f"variable offset stack pointer cannot be passed into helper function; {where}")
        low, high = check_stack_range(env, ptr, regno, off, size, zero_ok=False, writes=False)
        env.write_reg(dst, _bytes_value(env, env.state.frames[ptr.n], low, high + size))
        return
    low, _ = check_stack_bounds(env, ptr, regno, off, size, False)
    env.stack_live.read(env.insn_idx, ptr.n, low, low + size)
    frame = env.state.frames[ptr.n]
    spi = (-low - 1) // 8
    slot = frame.stack[spi]
    env.touch_slot(spi)
    if not slot.spilled:
        if dst >= 0:
            env.write_reg(dst, _bytes_value(env, frame, low, low + size))
        return
    reg = slot.reg
    spill_size = 8 - slot.kinds.index("r")
    if size == 8 and spill_size == 8:
        if dst >= 0:
            env.write_reg(dst, reg)
    else:
        if reg.type != SCALAR:
            env.deny("invalid size of register fill")
        if dst < 0:
            return
        if size <= spill_size and low % 8 == 0:
            if reg.b.umax.bit_length() > size * 8 and reg.id:
                reg = reg.with_id(0)
                reg.off = 0
            env.write_reg(dst, reg)
        else:
            first = low % 8
            kinds = slot.kinds[8 - first - size : 8 - first]
            if kinds == "r" * size and reg.is_const and not reg.b.v:
                env.write_reg(dst, ZERO)
            else:
                env.write_reg(dst, ZERO if kinds == "0" * size else UNKNOWN_SCALAR)
                return
    env.push_history((ptr.n, spi))


def _bytes_value(env: Env, frame: Frame, low: int, end: int) -> Reg:
    """Zero when every byte of fp+low .. fp+end is known to be, else unknown (`mark_reg_stack_read`)."""
    for byte in range(low, end):
        spi = (-byte - 1) // 8
        env.touch_slot(spi)
        if frame.stack[spi].kinds[-byte - 1 & 7] != "0":
            return UNKNOWN_SCALAR
    return ZERO


def check_stack_range(
    env: Env,
    ptr: Reg,
    regno: int,
    off: int,
    size: int,
    *,
    zero_ok: bool,
    writes: bool,
    raw: bool = False,
) -> tuple[int, int]:
    """Check that `size` bytes may be read (or, with `writes`, changed) by a helper.

    With `raw` the helper fills them without looking: the caller marks them afterwards.
    """
    if not size and not zero_ok:
        env.deny("invalid zero-sized read")
    low, high = check_stack_bounds(env, ptr, regno, off, size, writes)
    frame = env.state.frames[ptr.n]
    if raw and not ptr.b.m:
        return low, high
    env.stack_live.read(env.insn_idx, ptr.n, low, high + size)
    for byte in range(low, high + size):
        spi, at = (-byte - 1) // 8, -byte - 1 & 7
        slot = frame.stack[spi]
        kind = slot.kinds[at]
        if kind == "d":
            where = (
                f"off {low}+{byte - low}"
                if not ptr.b.m
                else f"var_off {tnum_str(ptr.b.v, ptr.b.m)}+{byte - low}"
            )
            env.deny(f"invalid read from stack R{regno} {where} size {size}")
        if writes:
            kinds = slot.kinds.translate(_SCRUBBED if slot.spilled else _MISC_OF)
            frame.stack[spi] = Slot(kinds[:at] + "m" + kinds[at + 1 :])
        elif kind == "r" and slot.reg.type == SCALAR and not ptr.b.m:
            continue
    return low, high
