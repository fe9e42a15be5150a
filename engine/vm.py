"""Run one program given as hex text: `python -m engine.vm [--jit|--interpret] [MEM_HEX] < PROGRAM_HEX`.

The calling convention of public conformance suites: r1 points to the bytes of MEM_HEX, readable and writable,
r2 is their number (both 0 without MEM_HEX), r0 is printed in hex. A program that is refused, or that
leaves its memory, exits 1 with the reason on standard error. There are no maps and no helpers.
"""

import argparse
import ctypes
import errno
import faulthandler
import itertools
import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Sequence

from engine.errors import KernelError
from engine.interp import Interpreter, Memory
from engine.isa import STACK_SIZE, Form, Insn, PseudoSrc, decode
from engine.isa.check import Malformed, call_target, check_program
from engine.verifier import InsnAux, Subprog, Verified

__all__ = ["main", "prepare", "run_interpreted", "run_native"]

_U64 = (1 << 64) - 1


def prepare(insns: Sequence[Insn]) -> Verified:
    """`insns` as a program to run, checked for form only. Raises Malformed."""
    check_program(insns)
    starts = {0}
    for index, insn in enumerate(insns):
        row = insn.opcode
        if row is None:
            continue
        if row.form in (Form.CALLX, Form.LD_ABS, Form.LD_IND):
            raise Malformed(f"insn {index}: {row.symbol or row.form.name} is not allowed")
        if row.form is Form.CALL and insn.src != PseudoSrc.CALL:
            raise Malformed(f"insn {index}: there is no function {insn.imm}")
        if row.form is Form.LD_IMM64 and insn.src not in (PseudoSrc.NONE, PseudoSrc.FUNC):
            raise Malformed(f"insn {index}: there are no maps")
        target = call_target(insn, index)
        if target is not None:
            starts.add(target)
    order = [*sorted(starts), len(insns)]
    subprogs = [Subprog(a, b, STACK_SIZE) for a, b in itertools.pairwise(order)]
    aux = [InsnAux(seen=True, target=call_target(insn, i)) for i, insn in enumerate(insns)]
    return Verified(insns, aux, subprogs)


def run_interpreted(verified: Verified, memory: bytearray | None) -> int:
    """r0 of an interpreted run. KernelError (EFAULT) for an access outside memory and stack."""
    allowed = Memory()
    if memory is None:
        return Interpreter(verified, {}, memory=allowed).run(0, 0)
    buffer = (ctypes.c_char * len(memory)).from_buffer(memory)
    address = ctypes.addressof(buffer)
    allowed.allow(address, len(memory))
    return Interpreter(verified, {}, memory=allowed).run(address, 0, len(memory))


def run_native(verified: Verified, memory: bytearray | None) -> int:
    """r0 of a native run, in a child process because nothing checks its accesses. KernelError if it dies."""
    from engine.jit.bpf import compile_bpf

    code = compile_bpf(verified, {}, arguments=2)
    word = ctypes.c_int64
    function = ctypes.CFUNCTYPE(word, word, word, word)(code.address)

    def call() -> int:
        if memory is None:
            return int(function(0, 0, 0))
        buffer = (ctypes.c_char * len(memory)).from_buffer(memory)
        return int(function(ctypes.addressof(buffer), len(memory), 0))

    return _in_child(call)


def _in_child(call: Callable[[], int]) -> int:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.write(writer, (call() & _U64).to_bytes(8, "little"))
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read(8)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise KernelError(errno.EFAULT, f"the program died of {signal.Signals(os.WTERMSIG(status)).name}")
    return int.from_bytes(answer, "little")


def _bytes_of(text: str) -> bytes:
    """Bytes written in hex, with any spacing and 0x prefixes. ValueError for anything else."""
    return bytes.fromhex(re.sub(r"0x|\s|,", "", text))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit status."""
    parser = argparse.ArgumentParser(prog="engine.vm", description="Run an eBPF program given as hex text.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--jit", action="store_true", help="compile to native code (the default)")
    how.add_argument("--interpret", action="store_true", help="use the interpreter, with checked accesses")
    parser.add_argument("memory", nargs="?", metavar="MEM_HEX", help="bytes that r1 points to, in hex")
    options = parser.parse_args(arguments)
    run = run_interpreted if options.interpret else run_native
    try:
        memory = bytearray(_bytes_of(options.memory)) if options.memory else None
        verified = prepare(decode(_bytes_of(sys.stdin.read())))
        print(f"{run(verified, memory):x}")
    except (ValueError, KernelError) as error:
        print(f"engine.vm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
