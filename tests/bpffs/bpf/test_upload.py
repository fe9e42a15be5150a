"""Files that are taken whole when they are closed."""

import errno
import os

import pytest

from bpffs.bpf.upload import MOST_BYTES, Upload, check_elf_is_whole
from engine.errors import KernelError
from engine.kernfs import Caller
from tests.e2e.conftest import EXAMPLES

OBJECT = (EXAMPLES / "count.bpf.o").read_bytes()


class Taken:
    """What an upload was used for."""

    def __init__(self, fail: int = 0) -> None:
        self.contents: list[bytes] = []
        self.done = 0
        self.fail = fail
        self.reason: KernelError | None = None
        self.upload = Upload(self.use, self.finish, Caller())

    def use(self, content: bytes) -> bool:
        self.contents.append(content)
        if self.fail:
            raise KernelError(self.fail)
        return False

    def finish(self, reason: KernelError | None) -> None:
        self.done += 1
        self.reason = reason


def test_the_whole_content_is_used_once() -> None:
    taken = Taken()
    handle = taken.upload.open(os.O_WRONLY, Caller())
    handle.close()
    assert taken.contents == []
    handle.write(0, OBJECT[:1000])
    assert taken.upload.size == 1000
    with pytest.raises(KernelError):
        handle.close()
    handle.write(1000, OBJECT[1000:])
    handle.close()
    handle.close()
    assert taken.contents == [OBJECT]
    with pytest.raises(KernelError) as raised:
        handle.write(len(OBJECT), b"more")
    assert raised.value.errno == errno.EBUSY
    handle.release()
    assert (taken.done, taken.reason) == (1, None)


def test_an_answer_is_given_again() -> None:
    taken = Taken(errno.EACCES)
    handle = taken.upload.open(os.O_WRONLY, Caller())
    handle.write(0, OBJECT)
    for _ in range(2):
        with pytest.raises(KernelError) as raised:
            handle.close()
        assert raised.value.errno == errno.EACCES
    assert len(taken.contents) == 1


def test_what_is_written_after_a_refusal_is_looked_at_again() -> None:
    taken = Taken(errno.EACCES)
    handle = taken.upload.open(os.O_WRONLY, Caller())
    handle.write(0, bytes(len(OBJECT)))
    with pytest.raises(KernelError):
        handle.close()
    handle.write(0, OBJECT)
    taken.fail = 0
    handle.close()
    assert taken.contents == [bytes(len(OBJECT)), OBJECT]


def test_holes_are_zeros_and_order_does_not_matter() -> None:
    taken = Taken()
    handle = taken.upload.open(os.O_WRONLY, Caller())
    handle.write(4, b"late")
    handle.write(0, b"soon")
    assert bytes(taken.upload.content) == b"soonlate"
    handle.write(10, b"x")
    assert bytes(taken.upload.content) == b"soonlate\0\0x"
    assert handle.read(8, 3) == b"\0\0x"


def test_memory_is_bounded() -> None:
    handle = Taken().upload.open(os.O_WRONLY, Caller())
    for action in (lambda: handle.write(MOST_BYTES, b"x"),):
        with pytest.raises(KernelError) as raised:
            action()
        assert raised.value.errno == errno.EFBIG


def test_one_writer_at_a_time() -> None:
    upload = Taken().upload
    upload.open(os.O_WRONLY, Caller())
    with pytest.raises(KernelError) as raised:
        upload.open(os.O_WRONLY, Caller())
    assert raised.value.errno == errno.EBUSY


def test_what_never_got_whole_is_said_at_the_end() -> None:
    taken = Taken()
    handle = taken.upload.open(os.O_WRONLY, Caller())
    handle.write(0, OBJECT[:1000])
    handle.release()
    assert taken.contents == []
    assert (taken.done, str(taken.reason)) == (1, "ENOEXEC: the file ends before its end")


def test_what_is_empty_is_nothing() -> None:
    taken = Taken()
    taken.upload.open(os.O_WRONLY, Caller()).release()
    assert (taken.contents, taken.done, taken.reason) == ([], 1, None)


def test_the_end_follows_from_the_section_table() -> None:
    for whole in (OBJECT, b"anything else", b"x" * 100):
        check_elf_is_whole(whole)
    for part in (OBJECT[:-1], OBJECT[:30], b"\x7fE"):
        with pytest.raises(KernelError) as raised:
            check_elf_is_whole(part)
        assert raised.value.errno == errno.ENOEXEC
