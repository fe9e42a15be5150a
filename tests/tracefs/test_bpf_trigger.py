"""The trigger bpf: a program runs at hits and decides what is recorded; what it prints is recorded too."""

import errno
from collections.abc import Iterator

import pytest

from engine.abi.bpf import ProgType
from engine.errors import KernelError
from engine.isa import assemble
from engine.machine import Machine
from engine.probes.driver import Driver
from engine.progs import Prog, load_prog
from engine.progspec import ProgSpec
from tests.tracefs.conftest import Files
from tracefs.bpf_trigger import bpf_command

READ_A, READ_B = "events/kprobes/a", "events/syscalls/sys_enter_read"
RETURN_1 = "r0 = 1; exit"
RETURN_0 = "r0 = 0; exit"
FD_IS_7 = "r0 = *(u64 *)(r1 +112); if r0 == 0x7 goto +2; r0 = 0; exit; r0 = 1; exit"
PRINTS = (
    "r1 = 0x6968; *(u64 *)(r10 -8) = r1; r1 = r10; r1 += -8; r2 = 3; call bpf_trace_printk#6; r0 = 1; exit"
)


def program(machine: Machine, text: str, kind: ProgType = ProgType.KPROBE) -> Prog:
    """A program from assembler text, instructions separated by semicolons."""
    insns = assemble(text.replace(";", "\n"))
    return load_prog(machine, ProgSpec(type=kind, insns=insns, license="GPL", name="t"))


@pytest.fixture
def programs(files: Files) -> Iterator[dict[str, Prog]]:
    """Pinned programs by path."""
    found: dict[str, Prog] = {}

    def resolve(path: str) -> Prog:
        if path not in found:
            raise KernelError(errno.ENOENT)
        return found[path]

    files.tracefs.triggers.commands["bpf"] = bpf_command(resolve)
    files.write("kprobe_events", "p:a ksys_read fd=%di\n")
    files.write(f"{READ_A}/enable", "1")
    yield found
    files.tracefs.triggers.remove_all()


def test_the_program_decides(files: Files, driver: Driver, programs: dict[str, Prog]) -> None:
    programs["/p"] = program(files.machine, FD_IS_7)
    files.write(f"{READ_A}/trigger", "bpf:/p\n")
    assert files.read(f"{READ_A}/trigger") == "bpf:/p\n"
    for fd in (6, 7, 8):
        driver.call("read", fd, 0, 0)
    assert [line.split(" fd=")[1] for line in files.lines()] == ["0x7"]
    assert programs["/p"].run_cnt == 3
    files.write(f"{READ_A}/trigger", "!bpf:/p\n")
    driver.call("read", 9, 0, 0)
    assert len(files.lines()) == 2
    assert programs["/p"].run_cnt == 3


def test_several_programs_and_a_condition(files: Files, driver: Driver, programs: dict[str, Prog]) -> None:
    programs["/one"], programs["/zero"] = (program(files.machine, text) for text in (RETURN_1, RETURN_0))
    files.append(f"{READ_A}/trigger", "bpf:/one")
    files.append(f"{READ_A}/trigger", "bpf:/zero if fd == 3")
    assert files.read(f"{READ_A}/trigger") == "bpf:/zero if fd == 3\nbpf:/one\n"
    with pytest.raises(KernelError) as refused:
        files.append(f"{READ_A}/trigger", "bpf:/one")
    assert refused.value.errno == errno.EEXIST
    for fd in (3, 4):
        driver.call("read", fd, 0, 0)
    assert [line.split(" fd=")[1] for line in files.lines()] == ["0x4"]
    assert (programs["/one"].run_cnt, programs["/zero"].run_cnt) == (2, 1)


def test_what_a_program_prints_does_not_disturb_the_record(
    files: Files, driver: Driver, programs: dict[str, Prog]
) -> None:
    assert files.read("events/bpf_trace/bpf_trace_printk/enable") == "0\n"
    programs["/p"] = program(files.machine, PRINTS)
    assert files.read("events/bpf_trace/bpf_trace_printk/enable") == "1\n"
    files.write(f"{READ_A}/trigger", "bpf:/p")
    driver.call("read", 5, 0, 0)
    texts = [line.split(": ", 1)[1] for line in files.lines()]
    assert texts[0] == "bpf_trace_printk: hi"
    assert texts[1].startswith("a: (ksys_read+0x0/0x") and texts[1].endswith(" fd=0x5")
    files.write("events/bpf_trace/bpf_trace_printk/enable", "0")
    driver.call("read", 5, 0, 0)
    assert len(files.lines()) == 3


def test_program_types(files: Files, driver: Driver, programs: dict[str, Prog]) -> None:
    programs["/kprobe"] = program(files.machine, RETURN_0)
    programs["/tp"] = program(files.machine, RETURN_0, ProgType.TRACEPOINT)
    for path, wrong in ((READ_A, "/tp"), (READ_B, "/kprobe")):
        with pytest.raises(KernelError) as refused:
            files.append(f"{path}/trigger", f"bpf:{wrong}")
        assert refused.value.errno == errno.EINVAL
    for text, error in (("bpf:/none", errno.ENOENT), ("bpf", errno.EINVAL), ("bpf:", errno.EINVAL)):
        with pytest.raises(KernelError) as refused:
            files.append(f"{READ_A}/trigger", text)
        assert refused.value.errno == error
    files.write(f"{READ_B}/enable", "1")
    files.append(f"{READ_B}/trigger", "bpf:/tp")
    driver.call("read", 3, 0, 0)
    assert len(files.lines()) == 1
    assert programs["/tp"].run_cnt == 1
