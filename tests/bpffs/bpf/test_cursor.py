"""Text made piece by piece: offsets, interruption, two readers of one descriptor."""

import errno
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpffs.bpf.cursor import TextCursor
from engine.errors import KernelError
from engine.interruption import interruptible

PIECES = [b"one\n", b"", b"two and more\n", b"x" * 100, b"end"]
TEXT = b"".join(PIECES)


def _pieces() -> Iterator[bytes]:
    yield from PIECES


def test_reads_go_on_where_the_last_ended() -> None:
    cursor = TextCursor(_pieces)
    read = b""
    while part := cursor.read(len(read), 7):
        read += part
    assert read == TEXT
    assert cursor.read(len(TEXT), 7) == b""


@given(st.lists(st.tuples(st.integers(0, 130), st.integers(1, 130)), max_size=10))
def test_any_offset_gives_what_is_there(reads: list[tuple[int, int]]) -> None:
    cursor = TextCursor(_pieces)
    for offset, size in reads:
        assert cursor.read(offset, size) == TEXT[offset : offset + size]


def test_nothing_is_made_before_it_is_read() -> None:
    made = []

    def pieces() -> Iterator[bytes]:
        for number in range(1000):
            made.append(number)
            yield b"%3d\n" % number

    cursor = TextCursor(pieces)
    assert made == []
    cursor.read(0, 8)
    assert len(made) == 2


def test_an_interrupted_read_loses_nothing() -> None:
    answers = iter([False, False, True])
    cursor = TextCursor(_pieces)
    assert cursor.read(0, 2) == TEXT[:2]
    with interruptible(lambda: next(answers)), pytest.raises(KernelError) as raised:
        cursor.read(2, 500)
    assert raised.value.errno == errno.EAGAIN
    assert cursor.read(2, 500) == TEXT[2:]


def test_readers_of_one_descriptor_take_turns() -> None:
    def pieces() -> Iterator[bytes]:
        for number in range(100):
            time.sleep(0.001)
            yield b"%3d\n" % number

    whole = b"".join(b"%3d\n" % number for number in range(100))
    cursor = TextCursor(pieces)
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda at=at: found.append(cursor.read(at, 40) == whole[at : at + 40]))
        for at in (0, 40, 0, 100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [True] * 4


def test_who_waits_for_another_reader_can_be_interrupted() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        entered.set()
        go_on.wait(10)
        yield b"text"

    cursor = TextCursor(pieces)
    first = threading.Thread(target=lambda: cursor.read(0, 4))
    first.start()
    assert entered.wait(10)
    with interruptible(lambda: True), pytest.raises(KernelError):
        cursor.read(0, 4)
    go_on.set()
    first.join(10)
    assert cursor.read(0, 4) == b"text"
