"""Loaded programs: what they know of themselves, running and counting, the end of their memory."""

import gc
from collections.abc import Iterator

import pytest

from engine.abi.bpf import MapType, ProgType
from engine.env import Ctl, Env, peek32, peek64, poke64
from engine.errors import KernelError
from engine.isa import assemble
from engine.machine import Machine
from engine.maps import MapSpec, create_map
from engine.progs import Prog, ProgHdr, load_prog, prog_tag, run_prog
from engine.progspec import ProgSpec
from engine.verifier import VerifierError

_RETURN_DI = "r0 = *(u64 *)(r1 +112)\nexit"
_COUNT = """
    *(u32 *)(r10 -4) = 0
    r2 = r10
    r2 += -4
    r1 = map_fd[0]
    call bpf_map_lookup_elem
    if r0 == 0x0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
out: r0 = 0
    exit
"""


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    gc.collect()
    made.close()


def load(machine: Machine, text: str, *, name: str = "test", **more: object) -> Prog:
    """A KPROBE program."""
    spec = ProgSpec(ProgType.KPROBE, assemble(text), license="GPL", name=name)
    for field, value in more.items():
        setattr(spec, field, value)
    return load_prog(machine, spec)


def test_a_program_knows_what_it_is(machine: Machine) -> None:
    prog = load(machine, _RETURN_DI)
    assert (prog.type, prog.name, prog.license) == (ProgType.KPROBE, "test", "GPL")
    assert machine.progs.get(prog.id) is prog
    assert peek32(prog.address + ProgHdr.ID) == prog.id
    assert peek32(prog.address + ProgHdr.TYPE) == ProgType.KPROBE
    assert prog.load_time_ns > 0
    assert prog.image.startswith(b"\x7fELF")
    assert prog.jited


def test_running_counts(machine: Machine) -> None:
    prog = load(machine, _RETURN_DI)
    env, regs = machine.new_env(), machine.heap.alloc(168)
    poke64(regs + 112, 1234)
    poke64(env + Env.PROG, 99)
    assert run_prog(env, regs, prog.address) == 1234
    assert run_prog(env, regs, prog.address) == 1234
    assert (prog.run_cnt, prog.run_time_ns) == (2, 0)
    assert peek64(env + Env.PROG) == 99


def test_time_is_counted_on_request(machine: Machine) -> None:
    prog = load(machine, _RETURN_DI)
    poke64(machine.ctl + Ctl.STATS_ENABLED, 1)
    run_prog(machine.new_env(), machine.heap.alloc(168), prog.address)
    assert prog.run_time_ns > 0


def test_a_program_changes_its_map(machine: Machine) -> None:
    used = create_map(MapSpec(MapType.ARRAY, 4, 8, 1, name="hits"), machine)
    prog = load(machine, _COUNT, maps={0: used})
    env, regs = machine.new_env(), machine.heap.alloc(168)
    for _ in range(3):
        run_prog(env, regs, prog.address)
    assert used.lookup(bytes(4)) == (3).to_bytes(8, "little")
    assert prog.maps == [used]


def test_refusal_has_errno_and_log(machine: Machine) -> None:
    with pytest.raises(VerifierError) as refusal:
        load(machine, "exit")
    assert "R0 !read_ok" in refusal.value.log
    assert isinstance(refusal.value, KernelError)
    assert len(machine.progs) == 0


def test_memory_goes_after_a_grace_period(machine: Machine) -> None:
    load(machine, _RETURN_DI)
    gc.collect()
    machine.epoch.poll()
    before = machine.heap.used
    prog = load(machine, _RETURN_DI)
    number = prog.id
    del prog
    gc.collect()
    machine.epoch.poll()
    assert machine.heap.used == before
    with pytest.raises(KernelError):
        machine.progs.get(number)


@pytest.mark.parametrize(
    ("text", "tag"), [("r0 = 0\nexit", "a04f5eef06a7f555"), ("r0 = 2\nexit", "3b185187f1855c4c")]
)
def test_tag_is_that_of_linux_6_1(text: str, tag: str) -> None:
    assert prog_tag(assemble(text)).hex() == tag


def test_tag_does_not_depend_on_descriptors() -> None:
    tags = {prog_tag(assemble(f"r1 = map_value[{fd}][0]+{off}\nexit")) for fd, off in ((3, 0), (9, 16))}
    assert len(tags) == 1
    assert tags != {prog_tag(assemble("r1 = 0x3\nexit"))}
