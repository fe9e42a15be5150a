"""M/procs: what is written reaches the tracer, or is EINVAL."""

import errno
import os

import pytest

from bpffs.procs import procs_file
from engine.errors import KernelError
from engine.kernfs import Caller

ME = Caller(os.getpid())


class Attached:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def attach(self, pid: int) -> None:
        self.asked.append(("attach", pid))

    def detach(self, pid: int) -> None:
        raise KernelError(errno.ESRCH)

    def pids(self) -> list[int]:
        return [20, 3]


def test_attaching_listing_and_errors() -> None:
    attached = Attached()
    file = procs_file(attached)
    handle = file.open(os.O_RDWR, ME)
    assert handle.write(0, b"42\n") == 3
    assert handle.write(0, b" 7 ") == 3
    assert attached.asked == [("attach", 42), ("attach", 7)]
    assert handle.read(0, 100) == b"3\n20\n"
    with pytest.raises(KernelError) as raised:
        handle.write(0, b"-42\n")
    assert raised.value.errno == errno.ESRCH
    assert file.slow


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"x", b"0", b"-0", b"--1", b"1 2", b"1\n2\n", b"4194305", b"\xff", b"1.5"]
)
def test_what_is_no_process_id_is_einval(data: bytes) -> None:
    attached = Attached()
    with pytest.raises(KernelError) as raised:
        procs_file(attached).open(os.O_WRONLY, ME).write(0, data)
    assert raised.value.errno == errno.EINVAL
    assert attached.asked == []
