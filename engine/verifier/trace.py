"""What the walk writes to the log: instructions with their source lines, and the state after each."""

from engine.isa import Form, Insn, disasm
from engine.memory import kernel_ptr
from engine.verifier.env import Env
from engine.verifier.log import alignment, frame_text
from engine.verifier.state import State

__all__ = ["insn_text", "print_insn", "print_insn_state", "print_line", "print_state", "state_clean"]


def state_clean(env: Env) -> None:
    """Nothing has changed since the last print."""
    env.scratched_regs = 0
    env.scratched_slots = 0


def print_state(env: Env, state: State, frameno: int, *, everything: bool) -> None:
    """One frame of a state and a newline (`print_verifier_state`)."""
    frame = state.frames[frameno]
    if everything:
        env.log.write(frame_text(state, frame))
    else:
        env.log.write(frame_text(state, frame, env.scratched_regs, env.scratched_slots))
        state_clean(env)


def print_insn_state(env: Env) -> None:
    """What changed, beside the instruction when nothing was printed since, else on its own line."""
    log = env.log
    if env.prev_log_pos and env.prev_log_pos == log.pos:
        log.cut(env.prev_log_pos - 1)
        log.write(" " * alignment(env.prev_insn_width) + ";")
    else:
        log.write(f"{env.insn_idx}:")
    print_state(env, env.state, len(env.state.frames) - 1, everything=False)


def print_line(env: Env, insn_idx: int, prefix: str) -> None:
    """The source line that an instruction belongs to, unless it was the last one printed."""
    lines = env.spec.line_info
    if not lines:
        return
    low, high = 0, len(lines) - 1
    while low < high:
        mid = (low + high + 1) // 2
        if lines[mid].insn_off <= insn_idx:
            low = mid
        else:
            high = mid - 1
    line = lines[low]
    before = env.prev_line
    if before is not None and before.line == line.line and before.file_name == line.file_name:
        return
    env.prev_line = line
    file_name = line.file_name.rsplit("/", 1)[-1]
    env.log.write(f"{prefix}{line.text.lstrip()} @ {file_name}:{line.line}\n")


def insn_text(env: Env, idx: int) -> str:
    """An instruction as the log shows it; both slots of LD_IMM64."""
    row = env.rows[idx]
    wide = row is not None and row.form is Form.LD_IMM64
    target = env.aux[idx].map

    def operand(_: Insn, value: int) -> str:
        """A map's address in the kernel half in place of its descriptor, a symbol's in place of its type."""
        address = getattr(target, "address", None)
        return f"{env.symbols.get(idx, value) if address is None else kernel_ptr(address):#x}"

    return disasm(env.insns[idx], env.insns[idx + 1] if wide else None, imm64=operand)


def print_insn(env: Env) -> None:
    """The instruction that is walked next, with the changes since the last print before it."""
    log, idx = env.log, env.insn_idx
    if env.scratched_regs or env.scratched_slots:
        print_insn_state(env)
    print_line(env, idx, "; ")
    start = log.pos
    log.write(f"{idx}: {insn_text(env, idx)}\n")
    env.prev_insn_width = log.pos - start
    env.prev_log_pos = log.pos
