"""What ends a command with one line and exit status 1."""

__all__ = ["Failure"]


class Failure(Exception):
    """A command cannot be done; the text says why, for people."""
