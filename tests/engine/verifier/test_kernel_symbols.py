"""LD_IMM64 with the type of a kernel function: its address. Reserved fields, refused in Linux's words."""

import errno

import pytest

from engine.abi.bpf import ProgType
from engine.isa import Insn, PseudoSrc, assemble, encode
from engine.loader.kernelinfo import modelled_kernel
from engine.machine import Machine
from engine.progs import load_prog
from engine.progspec import ProgSpec
from engine.verifier import VerifierError, verify
from tests.differential.host import host_kernel
from tests.engine.trusted import interpret, run_native
from tests.kernel_oracle import kernel_unavailable, load

_FUNCTION = "vfs_read"


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine()


def test_the_address_of_a_function(machine: Machine) -> None:
    model = modelled_kernel(machine)
    assert model.btf is not None
    found = model.btf.func(_FUNCTION)
    assert found is not None
    insns = [Insn(0x18, 0, PseudoSrc.BTF_ID, 0, found[0]), Insn(0), *assemble("exit")]
    spec = ProgSpec(ProgType.KPROBE, insns, license="GPL", kernel_btf=model.btf, symbol=model.symbol)
    prog = load_prog(machine, spec)
    env = machine.new_env()
    try:
        address = model.symbol(_FUNCTION)
        assert interpret(prog.verified, 0, env) == run_native(prog.verified, 0, env) == address
    finally:
        machine.free_env(env)
    assert f"r0 = {address:#x}" in verify(spec, log_level=2).log


_ACCESS = "r0 = *(u8 *)(r0 +0)\nexit"
_CASES = [
    # (the id, or a function's name; second immediate; what follows)
    (0, 0, "exit"),
    (1, 0, "exit"),
    (-1, 0, "exit"),
    (1 << 30, 0, "exit"),
    (1, 7, "exit"),
    (_FUNCTION, 0, "exit"),
    (_FUNCTION, 0, _ACCESS),
    (_FUNCTION, 0, "*(u8 *)(r0 +0) = 1\nexit"),
    (_FUNCTION, 0, "r0 += 8\nexit"),
    (_FUNCTION, 0, "if r0 == 0x0 goto pc+1\nr0 = 0\nexit"),
]


_CALL, _KFUNC = 0x85, PseudoSrc.KFUNC_CALL
_SLOTS: list[list[Insn]] = [
    [Insn(0x18, 1, 0, 1, 5), Insn(0)],
    [Insn(0x18, 1, 0, 0, 5), Insn(1)],
    [Insn(0x18, 1, 0, 0, 5), Insn(0, 1)],
    [Insn(0x18, 1, 0, 0, 5), Insn(0, 0, 1)],
    [Insn(0x18, 1, 0, 0, 5), Insn(0, 0, 0, 1)],
    [Insn(0x18, 10, 0, 0, 5), Insn(0)],
    [Insn(0x18, 1, 7, 0, 5), Insn(0)],
    [Insn(_CALL, 0, _KFUNC, 0, -1)],
    [Insn(_CALL, 0, 3, 0, 1)],
    [Insn(_CALL, 1, 0, 0, 5)],
    [Insn(_CALL, 0, 0, 1, 5)],
    [Insn(0xBF, 0, 9), Insn(0x8D, 1)],
]


@pytest.mark.parametrize("slots", _SLOTS)
def test_what_no_program_may_hold_is_refused_in_the_kernels_words(slots: list[Insn]) -> None:
    if reason := kernel_unavailable():
        pytest.skip(reason)
    insns = [*slots, *assemble("r0 = 0\nexit")]
    reference = load(encode(insns), ProgType.KPROBE, log_level=1)
    with pytest.raises(VerifierError) as refusal:
        verify(ProgSpec(ProgType.KPROBE, insns, license="GPL"))
    assert errno.errorcode[refusal.value.errno] == reference.errname
    assert refusal.value.log.splitlines()[-2] == reference.log.splitlines()[-2]


@pytest.mark.parametrize(("type_id", "high", "text"), _CASES)
def test_verdict_is_the_kernels(machine: Machine, type_id: int | str, high: int, text: str) -> None:
    if reason := kernel_unavailable():
        pytest.skip(reason)
    theirs = host_kernel().btf
    if theirs is None:
        pytest.skip("this kernel has no BTF")
    found = theirs.func(type_id) if isinstance(type_id, str) else (type_id, None)
    assert found is not None
    insns = [Insn(0x18, 0, PseudoSrc.BTF_ID, 0, found[0]), Insn(0, imm=high), *assemble(text)]
    reference = load(encode(insns), ProgType.KPROBE, log_level=1)
    symbol = modelled_kernel(machine).symbol
    try:
        verify(ProgSpec(ProgType.KPROBE, insns, license="GPL", kernel_btf=theirs, symbol=symbol))
    except VerifierError as refusal:
        assert errno.errorcode[refusal.errno] == reference.errname, reference.log
        assert refusal.log.splitlines()[-2] == reference.log.splitlines()[-2]
    else:
        assert reference.accepted, reference.log
