"""fentry and fexit programs on modelled functions: arguments, results, and what they leave behind."""

import errno
import struct

import pytest

from engine.errors import KernelError
from engine.loader import load_object
from engine.loader.load import LoadedObject
from engine.machine import Machine
from engine.probes.driver import Driver
from engine.probes.tracing import register_tracing
from tests.engine.loader.compiled import compile_c

SOURCE = """
    struct file;
    struct seen { unsigned long calls, fd, buf, count; long ret; } entered, left;
    SEC("fentry/ksys_read")
    int BPF_PROG(enter, unsigned int fd, char *buf, unsigned long count)
    {
        entered.calls++;
        entered.fd = fd;
        entered.buf = (unsigned long)buf;
        entered.count = count;
        return 0;
    }
    SEC("fexit/ksys_read")
    int BPF_PROG(leave, unsigned int fd, char *buf, unsigned long count, long ret)
    {
        left.calls++;
        left.fd = fd;
        left.buf = (unsigned long)buf;
        left.count = count;
        left.ret = ret;
        return 0;
    }
    SEC("kprobe/ksys_read") int plain(void *ctx) { return 0; }
"""


def seen(loaded: LoadedObject) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`entered` and `left`, in the order of their names."""
    data = loaded.maps["t.bss"].lookup(bytes(4))
    words = struct.unpack("<10q", data)
    return words[:5], words[5:]


@pytest.fixture
def loaded(machine: Machine) -> LoadedObject:
    """The programs, loaded."""
    return load_object(compile_c(SOURCE), machine, name="t")


def test_arguments_and_results(machine: Machine, loaded: LoadedObject) -> None:
    probes = [register_tracing(machine, loaded.progs[name]) for name in ("enter", "leave")]
    for probe in probes:
        probe.enable()
    with Driver(machine) as thread:
        thread.call("read", 3, 0x7000, 100, result=42)
        thread.call("read", 4, 0x8000, 200, result=-9)
    assert seen(loaded) == ((2, 4, 0x8000, 200, 0), (2, 4, 0x8000, 200, -9))
    for probe in probes:
        probe.disable()
        probe.unregister()
    with Driver(machine) as thread:
        thread.call("read", 5, 0, 0, result=0)
    assert seen(loaded)[0][0] == 2


def test_only_its_own_function(machine: Machine, loaded: LoadedObject) -> None:
    leave = register_tracing(machine, loaded.progs["leave"])
    leave.enable()
    with Driver(machine) as thread:
        thread.call("pread64", 3, 0x7000, 1, 0, result=1)
        thread.call("read", 3, 0x7000, 100, result=5)
    assert seen(loaded)[1] == (1, 3, 0x7000, 100, 5)
    leave.unregister()


def test_other_programs_are_refused(machine: Machine, loaded: LoadedObject) -> None:
    with pytest.raises(KernelError) as caught:
        register_tracing(machine, loaded.progs["plain"])
    assert caught.value.errno == errno.EOPNOTSUPP
