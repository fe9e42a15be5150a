"""What the verifier asks about a map beyond its sizes: rights of programs, special fields in its values."""

from engine.abi.bpf import MapCreateFlag
from engine.progspec import MapLike

__all__ = ["map_rights", "special_fields"]


def map_rights(target: MapLike) -> tuple[bool, bool]:
    """Whether a program may read and may write the map's values."""
    flags = target.flags
    return not flags & MapCreateFlag.WRONLY_PROG, not flags & MapCreateFlag.RDONLY_PROG


def special_fields(target: MapLike) -> list[tuple[str, int, int]]:
    """(struct name, offset, size) of the locks and timers in a value, which loads and stores may not
    touch."""
    spec = getattr(target, "spec", None)
    lock_off = getattr(spec if spec is not None else target, "lock_off", None)
    return [] if lock_off is None else [("bpf_spin_lock", lock_off, 4)]
