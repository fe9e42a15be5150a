"""Numbers and words as the kernel's string functions read them (lib/kstrtox.c, lib/argv_split.c)."""

import errno
import string

from engine.errors import KernelError

__all__ = [
    "argv_split",
    "c_string",
    "kstrtol",
    "kstrtouint",
    "kstrtoul",
    "kstrtoul_from_user",
    "simple_strtoul",
]

_ULONG_MAX = (1 << 64) - 1
_LONG_MAX = (1 << 63) - 1
_SPACE = " \t\n\v\f\r\xa0"
_DIGITS = {8: string.octdigits, 10: string.digits, 16: string.hexdigits}
_NUMBER_BUFFER = 64


def c_string(data: bytes) -> str:
    """`data` up to its first NUL, one character a byte."""
    return data.split(b"\0", 1)[0].decode("latin-1")


def argv_split(text: str) -> list[str]:
    """Words between white space."""
    words: list[str] = []
    word = ""
    for char in text:
        if char in _SPACE:
            if word:
                words.append(word)
            word = ""
        else:
            word += char
    return [*words, word] if word else words


def _radix(text: str, base: int) -> tuple[str, int]:
    """Strip what says the base, as `_parse_integer_fixup_radix`."""
    hexadecimal = text[:2].lower() == "0x" and text[2:3] != "" and text[2] in string.hexdigits
    if base == 0:
        base = 16 if hexadecimal else 8 if text[:1] == "0" else 10
    if base == 16 and text[:2].lower() == "0x":
        text = text[2:]
    return text, base


def _digits(text: str, base: int) -> str:
    """The leading digits of `text`."""
    end = 0
    while end < len(text) and text[end] in _DIGITS[base]:
        end += 1
    return text[:end]


def _unsigned(text: str, base: int) -> int:
    """Digits, then at most one newline. EINVAL; ERANGE above 64 bits."""
    body, base = _radix(text, base)
    digits = _digits(body, base)
    if not digits:
        raise KernelError(errno.EINVAL)
    value = int(digits, base)
    if value > _ULONG_MAX:
        raise KernelError(errno.ERANGE)
    rest = body[len(digits) :]
    if rest not in ("", "\n"):
        raise KernelError(errno.EINVAL)
    return value


def kstrtoul(text: str, base: int) -> int:
    """An unsigned long, with an optional +. Raises KernelError EINVAL or ERANGE."""
    return _unsigned(text[1:] if text[:1] == "+" else text, base)


def kstrtouint(text: str, base: int) -> int:
    """An unsigned int. Raises KernelError EINVAL or ERANGE."""
    value = kstrtoul(text, base)
    if value >> 32:
        raise KernelError(errno.ERANGE)
    return value


def kstrtol(text: str, base: int) -> int:
    """A long. Raises KernelError EINVAL or ERANGE."""
    if text[:1] == "-":
        value = -_unsigned(text[1:], base)
        if value < -_LONG_MAX - 1:
            raise KernelError(errno.ERANGE)
        return value
    value = kstrtoul(text, base)
    if value > _LONG_MAX:
        raise KernelError(errno.ERANGE)
    return value


def simple_strtoul(text: str) -> tuple[int, str]:
    """The number at the start of `text` (0 without one) and what follows."""
    body, base = _radix(text, 0)
    digits = _digits(body, base)
    return (int(digits, base) if digits else 0), body[len(digits) :]


def kstrtoul_from_user(data: bytes, base: int = 10) -> int:
    """What `kstrtoul_from_user` makes of one write: at most 63 bytes count. EINVAL or ERANGE."""
    return kstrtoul(c_string(data[: _NUMBER_BUFFER - 1]), base)
