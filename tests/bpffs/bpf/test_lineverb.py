"""The verb that takes a line."""

import errno
import os

import pytest

from bpffs.bpf.lineverb import MOST_BYTES, LineVerb
from engine.errors import KernelError
from engine.kernfs import Caller, Handle


class Taken:
    """What a verb was used for."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.done = 0
        self.verb = LineVerb(self.use, self.finish, Caller())

    def use(self, line: bytes) -> None:
        if line.startswith(b"bad"):
            raise KernelError(errno.EINVAL)
        self.lines.append(line)

    def finish(self) -> None:
        self.done += 1


def refusal(handle: Handle, line: bytes) -> int:
    with pytest.raises(KernelError) as raised:
        handle.write(0, line)
    return raised.value.errno


def test_a_write_is_taken_at_once_with_or_without_a_newline() -> None:
    for line in (b"type hash\n", b"type hash"):
        taken = Taken()
        handle = taken.verb.open(os.O_WRONLY, Caller())
        handle.close()
        assert handle.write(0, line) == len(line)
        assert (taken.lines, taken.done) == ([line], 0)
        assert refusal(handle, b"more") == errno.EBUSY
        handle.release()
        assert (taken.lines, taken.done) == ([line], 1)


def test_the_error_is_that_of_the_write_and_another_may_follow() -> None:
    taken = Taken()
    handle = taken.verb.open(os.O_WRONLY, Caller())
    assert refusal(handle, b"bad\n") == errno.EINVAL
    assert refusal(handle, b"x" * (MOST_BYTES + 1)) == errno.E2BIG
    assert handle.write(0, b"good\n") == 5
    assert taken.lines == [b"good\n"]


def test_it_is_done_when_nobody_has_it_open() -> None:
    taken = Taken()
    first, second = (taken.verb.open(os.O_WRONLY, Caller()) for _ in range(2))
    assert refusal(first, b"bad\n") == errno.EINVAL
    assert second.write(0, b"good\n") == 5
    first.release()
    assert taken.done == 0
    second.release()
    assert (taken.lines, taken.done) == ([b"good\n"], 1)
