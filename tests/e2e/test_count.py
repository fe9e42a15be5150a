"""System calls of a known program, counted exactly through the mount: in a map, and as lines of trace."""

import re
from collections.abc import Callable
from pathlib import Path

from engine.abi.syscalls import NI_SYSCALL, NR, SYSCALLS
from engine.kernel.functions import ALIASES
from tests.e2e.conftest import Shell
from tests.engine.tracees.conftest import Build, Gated, build, start
from tests.engine.tracees.test_counts import UNSTEADY, straced

__all__ = ["build", "start"]

WAYS = ["plain", "fork", "thread", "vfork", "fork", "exec"]
OPENS = 200 * (1 + 2 + 4 + 2 + 2 + 1)
"""openat calls that programs/counts.c makes itself; the loader's come on top."""


def counted(text: str) -> dict[str, int]:
    """The pinned map `hits` as text: system call by name, count."""
    found = dict(re.findall(r"^(\d+): (\d+)$", text, re.MULTILINE))
    return {SYSCALLS[int(nr)].name: int(count) for nr, count in found.items()}


def by_number(counts: dict[str, int]) -> dict[int, int]:
    """What strace counted, by number; it has no names for those that are newer than itself."""
    return {
        int(name[8:], 16) if name.startswith("syscall_0x") else NR[name]: count
        for name, count in counts.items()
    }


def test_a_map_counts_as_strace_does(
    mounted: Shell, build: Build, start: Callable[..., Gated], tmp_path: Path
) -> None:
    command = [build("counts"), "200", *WAYS]
    expected = straced(command, tmp_path / "strace")
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/ && echo 1 > $B/count/attach.ctl")
    gated = start(*command)
    mounted.ok(f"echo {gated.pid} > $M/procs")
    gated.open()
    assert gated.finish() == (0, "")
    hits = counted(mounted.ok("cat $B/count/maps/hits"))
    steady = {name: count for name, count in expected.items() if name not in UNSTEADY}
    assert {name: count for name, count in hits.items() if name not in UNSTEADY} == steady
    assert hits["openat"] >= OPENS


def test_run_counts_from_execve_on(mounted: Shell, build: Build, tmp_path: Path) -> None:
    """But for the read by which the command waits to be attached: it is begun again when probes are armed."""
    command = [build("counts"), "20"]
    expected = straced(command, tmp_path / "strace")
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/ && echo 1 > $B/count/attach.ctl")
    mounted.ok(f"bpffs run -m $M -- {' '.join(command)}")
    hits = counted(mounted.ok("cat $B/count/maps/hits"))
    assert hits.pop("read") - expected.pop("read") in (0, 1)
    assert {name: count for name, count in hits.items() if name not in UNSTEADY} == {
        name: count for name, count in expected.items() if name not in UNSTEADY
    }


def test_every_system_call_fires_as_strace_sees_it(
    mounted: Shell, build: Build, start: Callable[..., Gated], tmp_path: Path
) -> None:
    """Entry and return of each `__x64_sys_*`, and of each number at `do_syscall_64`."""
    command = [build("everything")]
    expected = by_number(straced(command, tmp_path / "strace"))
    functions = [
        name for name in mounted.ok("cat $T/available_filter_functions").split() if name.startswith("__x64_")
    ]
    lines = "".join(f"p:in{i} {name}\nr:out{i} {name}\n" for i, name in enumerate(functions))
    (mounted.mount.parent / "all").write_text(lines)
    mounted.ok("cat $M/../all > $T/kprobe_events; echo 1 > $T/events/kprobes/enable")
    mounted.ok("cp $EXAMPLES/count.bpf.o $B/ && echo 1 > $B/count/attach.ctl")
    gated = start(*command)
    mounted.ok(f"echo {gated.pid} > $M/procs")
    gated.open()
    assert gated.finish() == (0, "")
    unsteady = {NR[name] for name in UNSTEADY if name in NR} - {NR["rt_sigreturn"], NR["restart_syscall"]}
    found = re.findall(r"^(\d+): (\d+)$", mounted.ok("cat $B/count/maps/hits"), re.MULTILINE)
    hits = {int(nr): int(count) for nr, count in found if int(nr) not in unsteady}
    assert hits == {nr: count for nr, count in expected.items() if nr not in unsteady}
    assert set(range(475)) - set(hits) - unsteady == {NR["vhangup"], NR["sync"]}

    profile = dict(line.split()[:2] for line in mounted.ok("cat $T/kprobe_profile").splitlines())
    wanted: dict[str, int] = {}
    for nr, count in expected.items():
        row = SYSCALLS.get(nr)
        function = row.function if row else f"__x64_sys_{NI_SYSCALL}"
        wanted[function] = wanted.get(function, 0) + count
    skipped = {SYSCALLS[nr].function for nr in unsteady}
    for i, alias in enumerate(functions):
        name = ALIASES.get(alias, alias)
        if name in skipped:
            continue
        assert int(profile[f"in{i}"]) == wanted.get(name, 0), name
        returns = name not in {"__x64_sys_exit", "__x64_sys_exit_group"}
        assert int(profile[f"out{i}"]) == (wanted.get(name, 0) if returns else 0), name


def test_trace_has_a_line_for_each_call(
    mounted: Shell, build: Build, start: Callable[..., Gated], tmp_path: Path
) -> None:
    command = [build("counts"), "200", *WAYS]
    expected = straced(command, tmp_path / "strace")["openat"]
    mounted.ok("echo 8192 > $T/buffer_size_kb")
    mounted.ok("echo 'p:in __x64_sys_openat name=+0(+104(%di)):ustring' > $T/kprobe_events")
    mounted.ok("echo 'r:out __x64_sys_openat result=$retval:s64' >> $T/kprobe_events")
    mounted.ok("echo 1 > $T/events/kprobes/enable")
    gated = start(*command)
    mounted.ok(f"echo {gated.pid} > $M/procs")
    gated.open()
    assert gated.finish() == (0, "")
    lines = [line for line in mounted.ok("cat $T/trace").splitlines() if not line.startswith("#")]
    ours = [line for line in lines if 'name="/nonexistent/file"' in line]
    assert len(ours) == OPENS
    assert sum(" in: (" in line for line in lines) == expected
    assert sum(" out: (" in line for line in lines) == expected
    assert sum(line.endswith("result=-2") for line in lines) >= OPENS
    stamps = [float(line.split()[3].rstrip(":")) for line in lines]
    assert stamps == sorted(stamps)


ODD = """\
static void call(long nr) {
    asm volatile("syscall" : "+a"(nr) : "D"(0) : "rcx", "r11", "memory");
}
int main(void) {
    call(1000000);
    call(-1);
    call(0x40000000 + 39);
    call(0x100000000 + 39);
    return 0;
}
"""


def test_any_number_counts(mounted: Shell) -> None:
    """Numbers of no system call, -1, one of another ABI, and one that is valid once it is cut to an int."""
    source = mounted.mount.parent / "odd.c"
    source.write_text(ODD)
    mounted.ok(f"gcc -O1 -o $M/../odd {source}")
    mounted.ok("echo 'p:s do_syscall_64 nr=%si:s32' > $T/kprobe_events")
    mounted.ok("echo 'p:ni __x64_sys_ni_syscall' >> $T/kprobe_events")
    mounted.ok("echo 'p:pid __x64_sys_getpid' >> $T/kprobe_events")
    mounted.ok("echo 1 > $T/events/kprobes/enable; bpffs run -m $M -- $M/../odd")
    lines = mounted.ok("grep -A5 nr=1000000 $T/trace").splitlines()
    assert [re.sub(r".*: (\w+): \(.*?\)", r"\1", line) for line in lines] == [
        "s nr=1000000", "ni", "s nr=-1", "s nr=1073741863", "ni", "s nr=39",
    ]  # fmt: skip
    assert mounted.ok("grep -A1 nr=39 $T/trace").splitlines()[1].endswith("pid: (__x64_sys_getpid+0x0/0x40)")


def test_nothing_is_lost_while_probes_come_and_go(
    mounted: Shell, build: Build, start: Callable[..., Gated]
) -> None:
    """One probe stays, another is switched on and off all the time: the first one misses nothing."""
    mounted.ok("echo 16384 > $T/buffer_size_kb")
    mounted.ok(
        "echo 'p:stay __x64_sys_openat' > $T/kprobe_events; echo 'p:flit vfs_read' >> $T/kprobe_events"
    )
    mounted.ok("echo 1 > $T/events/kprobes/stay/enable")
    gated = start(build("counts"), "3000", "thread", "fork")
    mounted.ok(f"echo {gated.pid} > $M/procs")
    flitting = mounted.start("while :; do echo 1; echo 0; done > $T/events/kprobes/flit/enable")
    gated.open()
    try:
        assert gated.finish() == (0, "")
    finally:
        flitting.kill()
        flitting.communicate()
    count = mounted.ok("grep -c ' stay: ' $T/trace")
    loader = int(mounted.ok("cat $T/kprobe_profile").split()[1]) - 3000 * 6
    assert int(count) == 3000 * 6 + loader
    assert 0 <= loader < 20
