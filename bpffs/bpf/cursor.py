"""A handle that reads text made piece by piece, as seq_file does: nothing is made before it is read."""

from collections.abc import Callable, Iterator

from engine.kernfs import Handle

__all__ = ["TextCursor"]


class TextCursor(Handle):
    """Reads what `pieces()` yields. Memory is bounded by one read and one piece.

    A read goes on where the last one ended; a read from elsewhere starts again and skips, as traverse() of
    fs/seq_file.c does.
    """

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._make = pieces
        self._restart()

    def _restart(self) -> None:
        self._pieces = self._make()
        self._buffer = b""
        self._position = 0

    def read(self, offset: int, size: int) -> bytes:
        """The next bytes, across as many pieces as it takes."""
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
            parts.append(piece)
            have += len(piece)
        text = b"".join(parts)
        self._buffer = text[size:]
        self._position += min(size, len(text))
        return text[:size]
