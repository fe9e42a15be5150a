"""Run one program given as hex text: `python -m engine.vm [--jit|--interpret] [MEM_HEX] < PROGRAM_HEX`.

The calling convention of public conformance suites: r1 points to the bytes of MEM_HEX, readable and writable,
r2 is their number (both 0 without MEM_HEX), r0 is printed in hex. A program that is refused, or that
leaves its memory, exits 1 with the reason on standard error. There are no maps and no helpers. Nothing
bounds loops: an endless program runs until it is interrupted.

The interpreter checks every access. Native code runs without a verifier, so it runs in a child process, its
memory between pages that cannot be touched: a wild access ends the child, or stays unnoticed on its stack.
"""

import argparse
import ctypes
import errno
import faulthandler
import itertools
import mmap
import os
import re
import resource
import signal
import sys
from collections.abc import Callable, Sequence

from engine.errors import KernelError
from engine.interp import MAX_FRAMES, Interpreter, Memory
from engine.isa import FP, STACK_SIZE, Atomic, Form, Insn, Opcode, PseudoSrc, decode
from engine.isa.check import Malformed, call_target, check_program
from engine.verifier import InsnAux, Subprog, Verified

__all__ = ["main", "prepare", "run_interpreted", "run_native"]

_U64 = (1 << 64) - 1
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_kept: list[object] = []
"""Memory of the run in this process, which Python must not free."""


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
        _check_stack_access(index, insn, row)
        target = call_target(insn, index)
        if target is not None:
            starts.add(target)
    order = [*sorted(starts), len(insns)]
    subprogs = [Subprog(a, b, STACK_SIZE) for a, b in itertools.pairwise(order)]
    aux = [InsnAux(seen=True, target=call_target(insn, i)) for i, insn in enumerate(insns)]
    verified = Verified(insns, aux, subprogs)
    _check_depth(verified)
    return verified


def _check_stack_access(index: int, insn: Insn, row: Opcode) -> None:
    """An access through r10 itself stays in the frame."""
    if row.form not in (Form.LOAD, Form.STORE, Form.ATOMIC):
        return
    loads = row.form is Form.LOAD or (row.form is Form.ATOMIC and insn.imm == Atomic.LOAD_ACQ)
    base = insn.src if loads else insn.dst
    if base == FP and not -STACK_SIZE <= insn.off <= -row.size:
        raise Malformed(f"insn {index}: no stack at r10{insn.off:+d}, {row.size} bytes")


def _check_depth(verified: Verified) -> None:
    """Calls nest at most MAX_FRAMES deep, so they are never recursive."""
    depth = {0: 1}
    todo = [verified.subprogs[0]]
    by_start = {sub.start: sub for sub in verified.subprogs}
    while todo:
        sub = todo.pop()
        for index in range(sub.start, sub.end):
            target = verified.aux[index].target
            if target is None or depth.get(target, 0) > depth[sub.start]:
                continue
            depth[target] = depth[sub.start] + 1
            if depth[target] > MAX_FRAMES:
                raise Malformed(f"insn {index}: calls nest more than {MAX_FRAMES} deep")
            todo.append(by_start[target])


def run_interpreted(verified: Verified, memory: bytes | None) -> int:
    """r0 of an interpreted run. KernelError (EFAULT) for an access outside memory and stack."""
    allowed = Memory()
    if memory is None:
        return Interpreter(verified, {}, memory=allowed).run(0, 0)
    address = _guarded(memory)
    allowed.allow(address, len(memory))
    return Interpreter(verified, {}, memory=allowed).run(address, 0, len(memory))


def run_native(verified: Verified, memory: bytes | None) -> int:
    """r0 of a native run, in a child process because nothing checks its accesses. KernelError if it dies."""
    from engine.jit.bpf import compile_bpf

    code = compile_bpf(verified, {}, arguments=2)
    word = ctypes.c_int64
    function = ctypes.CFUNCTYPE(word, word, word, word)(code.address)

    def call() -> int:
        if memory is None:
            return int(function(0, 0, 0))
        return int(function(_guarded(memory), len(memory), 0))

    return _in_child(call)


def _guarded(memory: bytes) -> int:
    """Address of a copy of `memory` that ends at a page which cannot be touched, as is one before it."""
    room = -(-len(memory) // mmap.PAGESIZE) * mmap.PAGESIZE
    area = (ctypes.c_char * (room + 2 * mmap.PAGESIZE)).from_buffer(mmap.mmap(-1, room + 2 * mmap.PAGESIZE))
    start = ctypes.addressof(area) + mmap.PAGESIZE
    for guard in (start - mmap.PAGESIZE, start + room):
        _libc.mprotect(ctypes.c_void_p(guard), mmap.PAGESIZE, 0)
    address = start + room - len(memory)
    ctypes.memmove(address, memory, len(memory))
    _kept.append(area)
    return address


def _in_child(call: Callable[[], int]) -> int:
    """What `call` gives, in a child that goes when we go."""
    reader, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if not child:
        try:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            faulthandler.disable()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.write(writer, (call() & _U64).to_bytes(8, "little"))
        finally:
            os._exit(0)
    os.close(writer)
    try:
        with open(reader, "rb") as pipe:
            answer = pipe.read(8)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise KernelError(errno.EFAULT, f"the program died of {signal.Signals(os.WTERMSIG(status)).name}")
    if len(answer) != 8:
        raise KernelError(errno.EFAULT, "the program ended its process")
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
    # Suites pass an empty argument for memory or options that a test has not.
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args([argument for argument in given if argument.strip()])
    run = run_interpreted if options.interpret else run_native
    try:
        memory = _bytes_of(options.memory) if options.memory else None
        verified = prepare(decode(_bytes_of(sys.stdin.read())))
        print(f"{run(verified, memory):x}")
        sys.stdout.flush()
    except (ValueError, OSError, KernelError) as error:
        print(f"engine.vm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def _forget_output() -> None:
    """What could not be written has been reported: Python is not to try again when it ends, and fail."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    status = main()
    _forget_output()
    sys.exit(status)
