"""Is a constant format string one that bpf_snprintf takes (`bpf_bprintf_prepare`, kernel/bpf/helpers.c)?"""

__all__ = ["format_is_valid"]

_SPACE = b" \t\n\v\f\r"
_PLAIN_POINTER = b"KxsS"


def _is_punct(c: int) -> bool:
    return 0x20 < c < 0x7F and not chr(c).isalnum()


class _Scan:
    """A position in the text; reading past the end gives NUL."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = 0

    def peek(self, ahead: int = 0) -> int:
        """The byte `ahead` of the position."""
        at = self.at + ahead
        return self.text[at] if at < len(self.text) else 0

    def skip(self, chars: bytes) -> None:
        """Go past any of `chars`."""
        while self.peek() and self.peek() in chars:
            self.at += 1


def _pointer(scan: _Scan) -> bool:
    """What may follow `%p`; the position is on the p."""
    one, two = scan.peek(1), scan.peek(2)
    if one and one in b"ku" and two == ord("s"):
        scan.at += 2
        return True
    if not one or one in _SPACE or _is_punct(one):
        return True
    if one in _PLAIN_POINTER or one == ord("B"):
        scan.at += 1
        return True
    if one in b"iI" and two and two in b"46":
        scan.at += 2
        return True
    return False


def _conversion(scan: _Scan) -> bool:
    """What may follow `%`; leaves the position on its last byte."""
    scan.skip(b"0+- ")
    if scan.peek() in range(ord("1"), ord("9") + 1):
        scan.skip(b"0123456789")
    kind = scan.peek()
    if kind == ord("p"):
        return _pointer(scan)
    if kind and kind in b"sc":
        return True
    if kind == ord("l"):
        scan.at += 1
        if scan.peek() == ord("l"):
            scan.at += 1
        kind = scan.peek()
    return bool(kind) and kind in b"iduxX"


def format_is_valid(text: bytes, count: int) -> bool:
    """Whether `text`, up to its NUL, is a format with at most `count` conversions."""
    end = text.find(b"\0")
    if end < 0:
        return False
    scan = _Scan(text[:end])
    used = 0
    while scan.at < end:
        c = scan.peek()
        if c >= 0x7F or (c < 0x20 and c not in _SPACE):
            return False
        if c == ord("%"):
            scan.at += 1
            if scan.peek() != ord("%"):
                used += 1
                if used > count or not _conversion(scan):
                    return False
        scan.at += 1
    return True
