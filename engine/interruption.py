"""Long work that somebody may want to end: whoever does it asks, now and then, whether to go on.

What is asked belongs to the context (`contextvars`), so it goes along into a worker thread, and only there.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from engine.errors import KernelError

__all__ = ["check", "interruptible", "question"]

_question: ContextVar[Callable[[], bool] | None] = ContextVar("question", default=None)


@contextmanager
def interruptible(interrupted: Callable[[], bool]) -> Iterator[None]:
    """Within, long work ends once `interrupted()` is true. It may be asked from another thread, and often."""
    token = _question.set(interrupted)
    try:
        yield
    finally:
        _question.reset(token)


def question() -> Callable[[], bool] | None:
    """What to ask; None where nobody can interrupt."""
    return _question.get()


def check() -> None:
    """Raises KernelError(EAGAIN), as a verifier whose caller has a signal pending, if the work is to end."""
    interrupted = _question.get()
    if interrupted is not None and interrupted():
        raise KernelError(errno.EAGAIN, "interrupted")
