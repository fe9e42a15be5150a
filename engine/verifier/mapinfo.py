"""What the verifier asks about a map beyond its sizes: rights of programs, special fields in its values."""

from contextlib import suppress
from weakref import WeakKeyDictionary

from engine.abi.bpf import MapCreateFlag
from engine.btf import Btf
from engine.btf.fields import field_offset
from engine.errors import KernelError
from engine.progspec import MapLike

__all__ = ["LOCK", "has_lock", "map_rights", "special_fields"]

LOCK = "bpf_spin_lock"
_LOCK_SIZE = 4
_OPAQUE = {"bpf_timer": 16, "bpf_wq": 16}
_known: WeakKeyDictionary[Btf, dict[int, list[tuple[str, int, int]]]] = WeakKeyDictionary()


def map_rights(target: MapLike) -> tuple[bool, bool]:
    """Whether a program may read and may write the map's values."""
    flags = target.flags
    return not flags & MapCreateFlag.WRONLY_PROG, not flags & MapCreateFlag.RDONLY_PROG


def special_fields(target: MapLike) -> list[tuple[str, int, int]]:
    """(struct name, offset, size) of the locks and timers in a value, which loads and stores may not
    touch."""
    spec = getattr(target, "spec", target)
    lock_off = getattr(spec, "lock_off", None)
    found = [] if lock_off is None else [(LOCK, int(lock_off), _LOCK_SIZE)]
    btf, type_id = getattr(spec, "btf", None), getattr(spec, "btf_value_type_id", 0)
    return found + _opaque(btf, type_id) if isinstance(btf, Btf) and type_id else found


def has_lock(target: MapLike) -> bool:
    """Whether a value has a lock, so that it matters which element a pointer points to
    (`reg_may_point_to_spin_lock`)."""
    return any(name == LOCK for name, _, _ in special_fields(target))


def _opaque(btf: Btf, type_id: int) -> list[tuple[str, int, int]]:
    """Those that nothing here uses; they are looked for once."""
    known = _known.setdefault(btf, {})
    if type_id not in known:
        known[type_id] = []
        for name, size in _OPAQUE.items():
            with suppress(KernelError):
                off = field_offset(btf, btf.skip(type_id), name, size, 8)
                if off is not None:
                    known[type_id].append((name, off, size))
    return known[type_id]
