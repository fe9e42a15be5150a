"""Any arguments whatsoever: every function armed, nothing crashes, nothing is left behind."""

import ctypes
import os
import random
from pathlib import Path

from engine.abi.syscalls import NR_SYSCALLS
from engine.env import peek32
from engine.jit.lang import native
from engine.kernel.callparse import EXIT_CALL, KILLED_CALL, MOUNT_CALLS
from engine.kernel.layout import ALIAS, Slot
from engine.machine import Machine
from engine.probes.driver import Driver

CALLS = 30000


@native
def ignore(env: int, data: int, priv: int) -> int:
    """A handler that does nothing."""
    return 0


def test_wild_arguments(machine: Machine, thread: Driver, tmp_path: Path) -> None:
    rng = random.Random(1)
    probes = [
        machine.probes.register(name, None, 0, ignore.address, 0, ret=ret)
        for name in machine.kernel.available_filter_functions()
        for ret in (False, True)
    ]
    machine.probes.set_enabled(probes, True)
    texts = [b"", b"/", b"relative", b"../..", b"/a/../b//c/.", b"x" * 300, b"/" + b"y/" * 2000, b"\xff"]
    texts.append(b"a" * 5000)
    buffers = [ctypes.create_string_buffer(text) for text in texts]
    reader, writer = os.pipe()
    files = [os.open(tmp_path, os.O_RDONLY), os.open(tmp_path, os.O_PATH), reader, writer]
    pointers = [ctypes.addressof(buffer) for buffer in buffers]
    pointers += [0, 8, 2**64 - 1, 1 << 47, 0xFFFFFFFF81000000]
    numbers = [*files, 0, 1, -1, -100, 9999, 2**31, 2**63, 0x200, 0x1000, 0x20, 0xFFF, 4096, 24]
    for _ in range(CALLS):
        args = [rng.choice(pointers if rng.random() < 0.5 else numbers) & 2**64 - 1 for _ in range(6)]
        thread.enter(rng.randrange(-1, NR_SYSCALLS + 2), *args)
        if rng.random() < 0.9:
            thread.leave(rng.choice([0, -1, -2, -512, 3, files[0], 2**31, -(2**63), 2**40]))
    thread.call("getpid")
    for fd in files:
        os.close(fd)
    assert peek32(thread.task - ALIAS + Slot.INSTANCES) == 0
    unreached = {call.function.name for call in (EXIT_CALL, KILLED_CALL, *MOUNT_CALLS)} - {"do_group_exit"}
    silent = {probe.symbol for probe in probes if not probe.is_return and probe.nhit == 0}
    # Two open descriptors and two good pointers at once hardly come about.
    assert silent <= unreached | {"vfs_copy_file_range"}
    assert sum(probe.nmissed for probe in probes) == 0
