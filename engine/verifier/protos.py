"""The prototype of a helper by number, from the registry of `engine.helpers`."""

from engine.helpers import HELPERS
from engine.helpers.proto import Proto

__all__ = ["find_proto"]


def find_proto(number: int) -> Proto | None:
    """Prototype of helper `number`; None when the engine has no such helper."""
    found = HELPERS.get(number)
    return found.proto if found is not None else None
