"""Which maps can be inside which map (kernel/bpf/map_in_map.c)."""

import errno

from engine.abi.bpf import MapCreateFlag, MapType
from engine.maps.base import Map
from engine.maps.header import ENOTSUPP
from engine.maps.spec import refuse_unless

__all__ = ["check_inner", "same_meta"]

_NESTABLE = frozenset(
    {
        MapType.HASH,
        MapType.ARRAY,
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_HASH,
        MapType.LRU_PERCPU_HASH,
        MapType.LPM_TRIE,
        MapType.QUEUE,
        MapType.STACK,
        MapType.STACK_TRACE,
        MapType.PERF_EVENT_ARRAY,
        MapType.RINGBUF,
        MapType.BLOOM_FILTER,
        MapType.TASK_STORAGE,
    }
)
"""Types with `map_meta_equal`."""


def check_inner(template: Map | None) -> None:
    """`bpf_map_meta_alloc`. EBADF without a template, EINVAL for a nested one, ENOTSUPP for its type."""
    refuse_unless(template is not None, "no inner map", errno.EBADF)
    assert template is not None
    refuse_unless(template.inner is None, "maps nest only once")
    refuse_unless(template.type in _NESTABLE, f"{template.type.name} cannot be inside a map", ENOTSUPP)


def same_meta(template: Map, candidate: Map) -> bool:
    """`bpf_map_meta_equal` and `array_map_meta_equal`: whether code checked for one fits the other."""
    facts = [(m.type, m.key_size, m.value_size, m.flags, m.spec.lock_off) for m in (template, candidate)]
    if facts[0] != facts[1]:
        return False
    if template.type == MapType.ARRAY and not template.flags & MapCreateFlag.INNER_MAP:
        return template.max_entries == candidate.max_entries
    return True
