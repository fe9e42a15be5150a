"""The registry of helpers: number -> prototype and native function."""

from collections.abc import Callable
from dataclasses import dataclass

from engine.helpers.proto import Proto, Ret
from engine.jit.lang import Native

__all__ = ["HELPERS", "Helper", "helper"]

_POINTERS = frozenset(
    (
        Ret.PTR_TO_MAP_VALUE_OR_NULL,
        Ret.PTR_TO_ALLOC_MEM_OR_NULL,
        Ret.PTR_TO_DYNPTR_MEM_OR_NULL,
        Ret.PTR_TO_BTF_ID,
        Ret.PTR_TO_BTF_ID_OR_NULL,
    )
)


@dataclass(frozen=True, slots=True)
class Helper:
    """A helper. `native` is fn(env, r1, ...), with as many arguments as `proto`; r0 is its result."""

    proto: Proto
    native: Native

    @property
    def returns_pointer(self) -> bool:
        """Whether r0 is a pointer or null."""
        return self.proto.ret in _POINTERS


HELPERS: dict[int, Helper] = {}
"""Every helper by its number."""


def helper(proto: Proto) -> Callable[[Native], Native]:
    """Register the native function below as the helper that `proto` describes."""

    def register(native: Native) -> Native:
        assert proto.id not in HELPERS
        assert native.arity == len(proto.args) + 1
        HELPERS[proto.id] = Helper(proto, native)
        return native

    return register
