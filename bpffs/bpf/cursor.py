"""A handle that reads text made piece by piece, as seq_file does: nothing is made before it is read."""

import threading
from collections.abc import Callable, Iterator

from engine.interruption import check
from engine.kernfs import Handle

__all__ = ["TextCursor"]

ASK_SECONDS = 0.05
"""How often a read that waits for another read of the same descriptor asks whether it is still wanted."""


class TextCursor(Handle):
    """Reads what `pieces()` yields. Memory is bounded by one read and one piece.

    A read goes on where the last one ended; a read from elsewhere starts again and skips, as traverse() of
    fs/seq_file.c does. Making the text ends when nobody wants it any more (`engine.interruption`).
    """

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._make = pieces
        self._lock = threading.Lock()
        self._restart()

    def _restart(self) -> None:
        self._pieces = self._make()
        self._buffer = b""
        self._position = 0

    def read(self, offset: int, size: int) -> bytes:
        """The next bytes, across as many pieces as it takes. Raises KernelError(EAGAIN) when interrupted."""
        while not self._lock.acquire(timeout=ASK_SECONDS):
            check()
        try:
            return self._read(offset, size)
        except BaseException:
            self._restart()
            raise
        finally:
            self._lock.release()

    def _read(self, offset: int, size: int) -> bytes:
        if offset != self._position:
            self._restart()
            while self._position < offset:
                if not self._take(min(offset - self._position, 1 << 16)):
                    return b""
        return self._take(size)

    def _take(self, size: int) -> bytes:
        parts = [self._buffer]
        have = len(self._buffer)
        while have < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            check()
            parts.append(piece)
            have += len(piece)
        text = b"".join(parts)
        self._buffer = text[size:]
        self._position += min(size, len(text))
        return text[:size]
