"""What is asked of a test run, and what comes out."""

import errno
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.errors import KernelError

__all__ = ["ETH_HLEN", "Given", "RunRequest", "RunResult", "read_ctx", "refuse"]

ETH_HLEN = 14


def _nothing(start: int, size: int) -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Given:
    """A buffer of the caller: `read(start, size)` gives bytes of it, or raises KernelError EFAULT.

    `there` is false for a null pointer, whatever `size` says.
    """

    size: int = 0
    read: Callable[[int, int], bytes] = _nothing
    there: bool = False

    @classmethod
    def of(cls, data: bytes) -> "Given":
        """Bytes that are at hand."""
        return cls(len(data), lambda start, size: data[start : start + size], bool(data))


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Packet, context, how often (0: once), for which process; whether packet and context are wanted back.

    `duration` is what the caller put where the mean time will go: some programs take none.
    """

    data: Given = field(default_factory=Given)
    ctx: Given = field(default_factory=Given)
    repeat: int = 0
    pid: int = 0
    tid: int = 0
    wants_data: bool = True
    wants_ctx: bool = True
    flags: int = 0
    cpu: int = 0
    batch_size: int = 0
    duration: int = 0


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came out: r0 as a u32 and, where the kind of program has them, the packet, the context, mean
    nanoseconds. The last `frags` bytes of the packet are in other buffers than the first. `written` is what
    goes back to where the context came from.
    """

    retval: int
    duration: int = 0
    data: bytes | None = None
    frags: int = 0
    ctx: bytes | None = None
    written: bytes | None = None


def refuse(condition: object, why: str, number: int = errno.EINVAL) -> None:
    """Raise KernelError `number` if `condition` holds."""
    if condition:
        raise KernelError(number, why)


def read_ctx(asked: RunRequest, size: int) -> bytes | None:
    """The context, `size` bytes with zeros for what is missing (`bpf_ctx_init`); None where there is none.

    Raises KernelError: E2BIG for a longer one that is not zero, EFAULT.
    """
    if not asked.ctx.there and not asked.wants_ctx:
        return None
    given = asked.ctx.read(0, asked.ctx.size) if asked.ctx.there else b""
    refuse(any(given[size:]), "the context has fields that are not known", errno.E2BIG)
    return given[:size].ljust(size, b"\0")
