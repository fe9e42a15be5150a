"""From exceptions to errnos: the one place where a KernelError becomes a FUSE error."""

import errno
import logging
from types import TracebackType

import pyfuse3

from engine.errors import KernelError

__all__ = ["answering"]

_log = logging.getLogger(__name__)


_REPLACED = {524: errno.EOPNOTSUPP}
"""Errnos above 511 cannot be answered (fuse_dev_do_write): ENOTSUPP, which the kernel keeps to itself."""


class answering:
    """Context of one request called `operation`: whatever is raised inside leaves as `pyfuse3.FUSEError`.

    A KernelError gives its errno. Any other exception is a defect: it is logged with its traceback, the
    caller gets EIO, and the daemon goes on serving. Cancellation and interpreter exit pass through.
    """

    __slots__ = ("_operation",)

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if raised is None or isinstance(raised, pyfuse3.FUSEError):
            return
        if isinstance(raised, KernelError):
            _log.debug("%s: %s", self._operation, raised)
            # Frames of worker threads hold the error that holds them, and whatever the operation had in hand.
            raised.__traceback__ = None
            raise pyfuse3.FUSEError(_REPLACED.get(raised.errno, raised.errno)) from None
        if isinstance(raised, Exception):
            _log.error("%s failed, answered EIO", self._operation, exc_info=raised)
            raise pyfuse3.FUSEError(errno.EIO) from None
