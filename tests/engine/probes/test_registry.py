"""engine.probes.registry: what may be probed, with which errno it may not, counters, publication."""

import errno
import threading

import pytest

from engine.env import Ctl, peek64
from engine.errors import KernelError
from engine.machine import Machine
from engine.probes.driver import Driver
from engine.probes.layout import Rec
from tests.engine.probes.conftest import Recorder

VFS_READ = 0xFFFFFFFF813669E0


@pytest.mark.parametrize(
    ("symbol", "addr", "offset", "ret", "number"),
    [
        ("nosuchsymbol", None, 0, False, errno.ENOENT),
        ("vfs_", None, 0, False, errno.ENOENT),
        ("Vfs_read", None, 0, False, errno.ENOENT),
        ("do_sys_openat2", None, 4, False, errno.EILSEQ),
        ("do_sys_openat2", None, 5, True, errno.EINVAL),
        ("vfs_read", None, 99999999, False, errno.ENOENT),
        (None, 0x10, 0, False, errno.ENOENT),
        (None, 2**64 - 1, 0, False, errno.ENOENT),
        (None, VFS_READ + 1, 0, False, errno.EILSEQ),
        ("arch_rethook_trampoline", None, 0, False, errno.EINVAL),
        ("do_int3", None, 0, True, errno.EINVAL),
        ("_stext", None, 0, False, errno.EINVAL),
    ],
)
def test_refusals_are_the_kernels(
    machine: Machine, symbol: str | None, addr: int | None, offset: int, ret: bool, number: int
) -> None:
    with pytest.raises(KernelError) as error:
        machine.probes.register(symbol, addr, offset, 0, 0, ret=ret)
    assert error.value.errno == number
    assert machine.probes.all == []


def test_by_address_and_by_symbol_plus_offset(machine: Machine) -> None:
    by_address = machine.probes.register(None, VFS_READ, 0, 0, 0, ret=True)
    assert (by_address.function, by_address.address, by_address.is_return) == ("vfs_read", VFS_READ, True)
    symbol = machine.kernel.symbols.lookup("_stext")
    assert symbol is not None
    by_offset = machine.probes.register("_stext", None, VFS_READ - symbol.address, 0, 0, ret=False)
    assert by_offset.function == "vfs_read"


def test_every_available_function_can_be_probed_and_no_other(machine: Machine) -> None:
    names = machine.kernel.available_filter_functions()
    assert len(names) == len(set(names)) > 400
    for name in names:
        assert machine.probes.register(name, None, 0, 0, 0, ret=False).registered
    others = [symbol.name for symbol in machine.kernel.symbols if symbol.name not in names]
    assert "entry_SYSCALL_64_after_hwframe" in others
    for name in others:
        with pytest.raises(KernelError):
            machine.probes.register(name, None, 0, 0, 0, ret=False)


def test_armed_follows_the_enabled_probes(machine: Machine, recorder: Recorder) -> None:
    def armed() -> tuple[int, int]:
        return peek64(machine.ctl + Ctl.ARMED), peek64(machine.ctl + Ctl.EVENTS)

    assert armed() == (0, 0)
    one, two = recorder.probe("vfs_read"), recorder.probe("vfs_write", enable=False)
    end = recorder.probe("do_exit", enable=False)
    assert armed() == (1, 0)  # what vfs_read is on the mount concerns no tracee
    two.enable()
    one.unregister()
    assert armed() == (1, 0)
    two.disable()
    assert armed() == (0, 0)
    end.enable()
    assert armed() == (0, 1)


def test_changes_are_told_once_a_batch(machine: Machine, recorder: Recorder) -> None:
    told: list[int] = []
    machine.probes.on_change.append(lambda: told.append(peek64(machine.ctl + Ctl.ARMED)))
    probes = [recorder.probe(name, enable=False) for name in ("vfs_read", "vfs_write", "vfs_open")]
    machine.probes.set_enabled(probes, True)
    machine.probes.set_enabled(probes, True)
    assert told == [1]
    with machine.probes.batch():
        probes[0].disable()
        machine.probes.unregister(probes)
    assert told == [1, 0]


def test_a_removed_probe_cannot_be_enabled(machine: Machine, recorder: Recorder, thread: Driver) -> None:
    probe = recorder.probe("ksys_sync")
    thread.call("sync")
    probe.unregister()
    probe.unregister()
    thread.call("sync")
    assert (probe.registered, probe.enabled, probe.nhit) == (False, False, 1)
    with pytest.raises(KernelError) as error:
        probe.enable()
    assert error.value.errno == errno.ENODEV


def test_memory_comes_back(machine: Machine, recorder: Recorder, thread: Driver) -> None:
    def cycle() -> None:
        probes = [
            recorder.probe(name, ret=ret) for name in ("vfs_read", "do_syscall_64") for ret in (False, True)
        ]
        thread.call("read", 0, 0, 0)
        machine.probes.unregister(probes)
        assert machine.epoch.poll() == 0

    cycle()
    used = machine.heap.used
    for _ in range(20):
        cycle()
    assert machine.heap.used == used


def test_probes_come_and_go_under_load(machine: Machine, recorder: Recorder) -> None:
    """Threads fire while probes are added and removed: counts of a permanent probe stay exact."""
    permanent = recorder.probe("__x64_sys_getpid")
    handler = peek64(permanent.record + Rec.HANDLER)
    returns = machine.probes.register("__x64_sys_getpid", None, 0, handler, 0, ret=True)
    returns.enable()
    stop = threading.Event()
    failures: list[BaseException] = []
    counts = [0, 0]

    def run(index: int) -> None:
        try:
            with Driver(machine, cpu=0) as thread:
                while not stop.is_set():
                    thread.call("getpid", result=1)
                    counts[index] += 1
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for one in threads:
        one.start()
    for i in range(150):
        probe = recorder.probe("__x64_sys_getpid", ret=bool(i & 1))
        machine.epoch.poll()
        probe.unregister()
    stop.set()
    for one in threads:
        one.join()
    assert not failures
    assert permanent.nhit + permanent.nmissed == sum(counts)
    assert returns.nhit + returns.nmissed == sum(counts)
    assert machine.epoch.poll() == 0
