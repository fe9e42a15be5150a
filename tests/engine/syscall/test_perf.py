"""perf_event_open: attributes against the kernel, events of the kprobe PMU on the model."""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator

import pytest

from engine.abi.bpf import MapType, ProgType
from engine.errors import KernelError
from engine.isa import decode
from engine.machine import Machine
from engine.maps import MapSpec, create_map
from engine.maps.objects import ObjectArray
from engine.perf.kprobe import KprobeEvent
from engine.probes.driver import Driver
from engine.progs import load_prog
from engine.progspec import ProgSpec
from engine.syscall import BpfCaller
from engine.syscall.perf import PERF_ATTR_SIZE, perf_event_open
from tests import kernel_oracle
from tests.engine.helpers.kernel_helpers import insn

_reason = kernel_oracle.kernel_unavailable()
against_kernel = pytest.mark.skipif(bool(_reason), reason=_reason or "the kernel answers")
SYS_PERF_EVENT_OPEN = 298


def _attr(
    kind: int,
    config: int = 0,
    *,
    size: int = PERF_ATTR_SIZE,
    sample_type: int = 0,
    flags: int = 1,
    config1: int = 0,
    config2: int = 0,
    tail: bytes = b"",
) -> ctypes.Array[ctypes.c_char]:
    raw = struct.pack("<IIQQQQQIIQQ", kind, size, config, 0, sample_type, 0, flags, 0, 0, config1, config2)
    raw = raw.ljust(PERF_ATTR_SIZE, b"\0") + tail
    return ctypes.create_string_buffer(raw.ljust(4200, b"\0"), 4200)


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


def _open(
    machine: Machine, caller: BpfCaller, attr: ctypes.Array[ctypes.c_char], pid: int = -1, cpu: int = 0
) -> int:
    try:
        return perf_event_open(machine, caller, ctypes.addressof(attr), pid, cpu, -1, 8)
    except KernelError as error:
        return -error.errno


@against_kernel
@pytest.mark.parametrize("size", [0, 4, 63, 64, 72, 96, 112, 128, 136, 4096, 4097])
@pytest.mark.parametrize("tail", [b"", b"\1"])
def test_sizes_of_the_attribute_agree(machine: Machine, size: int, tail: bytes) -> None:
    # A size that this kernel knows and we do not, or the other way round, cannot be compared.
    libc = ctypes.CDLL(None, use_errno=True)
    attrs = [_attr(1, 10, size=size, sample_type=1 << 10, tail=bytes(64) + tail) for _ in range(2)]
    theirs = libc.syscall(SYS_PERF_EVENT_OPEN, attrs[0], -1, 0, -1, 8)
    error = ctypes.get_errno()
    if theirs >= 0:
        os.close(theirs)
    if theirs < 0 and error in (errno.ENOENT, errno.ENOSYS, errno.EACCES, errno.EPERM):
        pytest.skip(f"no such event here: {errno.errorcode[error]}")
    ours = _open(machine, BpfCaller(), attrs[1])
    assert min(ours, 0) == (0 if theirs >= 0 else -error)


@against_kernel
@pytest.mark.parametrize("cpu", [0, -1, -2, 9999])
@pytest.mark.parametrize("pid", [-1, 0, -2, 0x7FFF_FFFF])
def test_threads_cpus_groups_and_flags_agree(machine: Machine, pid: int, cpu: int) -> None:
    libc, caller = ctypes.CDLL(None, use_errno=True), BpfCaller()
    for group in (-1, -2, 9999):
        for flags in (0, 1, 8, 16, 4):
            for sample_type in (1 << 10, 8, 0):
                attr = _attr(1, 10, sample_type=sample_type)
                theirs = libc.syscall(SYS_PERF_EVENT_OPEN, attr, pid, cpu, group, ctypes.c_ulong(flags))
                error = ctypes.get_errno()
                if theirs >= 0:
                    os.close(theirs)
                elif error in (errno.ENOENT, errno.ENOSYS, errno.EACCES, errno.EPERM):
                    pytest.skip(f"no such event here: {errno.errorcode[error]}")
                try:
                    perf_event_open(machine, caller, ctypes.addressof(attr), pid, cpu, group, flags)
                    ours = 0
                except KernelError as refused:
                    ours = refused.errno
                assert ours == (0 if theirs >= 0 else error), (group, flags, sample_type)


def test_samples_of_unknown_shape_are_refused(machine: Machine) -> None:
    assert _open(machine, BpfCaller(), _attr(1, 10, sample_type=1 << 10 | 1 << 5)) == -errno.EOPNOTSUPP


def test_what_there_is_not(machine: Machine) -> None:
    caller = BpfCaller()
    for kind, config in ((0, 0), (1, 0), (2, 5), (6, 2), (7, 0), (99, 0)):
        assert _open(machine, caller, _attr(kind, config)) in (-errno.ENOENT, -errno.EINVAL)
    good = _attr(1, 10, sample_type=1 << 10)
    assert _open(machine, caller, good, -1, -1) == -errno.EINVAL
    assert _open(machine, caller, good, -1, machine.nr_cpus) == -errno.EINVAL
    assert _open(machine, caller, _attr(1, 10, flags=1 << 40)) == -errno.EINVAL
    assert _open(machine, caller, _attr(1, 10, sample_type=1 << 60)) == -errno.EINVAL
    for name in (b"no_such_function", b""):
        text = ctypes.create_string_buffer(name)
        found = _open(machine, caller, _attr(6, config1=ctypes.addressof(text)))
        assert found == (-errno.ENOENT if name else -errno.EINVAL)
    assert _open(machine, caller, _attr(6, config1=8)) == -errno.EFAULT


def test_a_program_on_an_event_of_the_kprobe_pmu(machine: Machine) -> None:
    caller, name = BpfCaller(), ctypes.create_string_buffer(b"do_syscall_64")
    fd = _open(machine, caller, _attr(6, config1=ctypes.addressof(name)))
    event = caller.fds.get(fd).object
    assert isinstance(event, KprobeEvent)
    counts = create_map(MapSpec(MapType.ARRAY, 4, 8, 1), machine)
    code = (
        insn(0x18, 1, 2, 0, 7) + insn(0) + insn(0xB7, 2, imm=1) + insn(0xDB, 1, 2) + insn(0xB7) + insn(0x95)
    )
    prog = load_prog(machine, ProgSpec(ProgType.KPROBE, decode(code), "GPL", maps={7: counts}))
    event.set_bpf(prog)
    with pytest.raises(KernelError, match="EEXIST"):
        event.set_bpf(prog)
    driver = Driver(machine)
    driver.call("getpid")
    assert counts.lookup(bytes(4)) == bytes(8)
    event.enable()
    for _ in range(3):
        driver.call("getpid")
    assert counts.lookup(bytes(4)) == struct.pack("<Q", 3)
    assert event.count == 3
    event.disable()
    driver.call("getpid")
    assert event.count == 3
    event.close()
    event.close()


def test_an_output_event_goes_into_an_array(machine: Machine) -> None:
    caller = BpfCaller()
    fd = _open(machine, caller, _attr(1, 10, sample_type=1 << 10, flags=0))
    events = create_map(MapSpec(MapType.PERF_EVENT_ARRAY, 4, 4, 1), machine)
    assert isinstance(events, ObjectArray)
    events.update_object(bytes(4), caller.fds.get(fd).object)
    with pytest.raises(KernelError, match="ENOTSUPP"):
        events.lookup(bytes(4))
