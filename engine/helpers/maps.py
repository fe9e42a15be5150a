"""Map helpers: each calls the function that the map's header names (kernel/bpf/helpers.c)."""

from engine.abi.bpf import FuncId
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import call, native, u64
from engine.maps.header import MapHdr

__all__ = [
    "for_each_map_elem",
    "map_delete_elem",
    "map_lookup_elem",
    "map_lookup_percpu_elem",
    "map_peek_elem",
    "map_pop_elem",
    "map_push_elem",
    "map_update_elem",
]

_EINVAL = -22


@helper(
    Proto(
        FuncId.map_lookup_elem,
        "bpf_map_lookup_elem",
        Ret.PTR_TO_MAP_VALUE_OR_NULL,
        (Arg.CONST_MAP_PTR, Arg.PTR_TO_MAP_KEY),
        pkt_access=True,
    )
)
@native(inline=True)
def map_lookup_elem(env: int, map: int, key: int) -> int:
    """Address of the value at `key`, or 0."""
    return call(u64(map + MapHdr.LOOKUP), env, map, key)


@helper(
    Proto(
        FuncId.map_update_elem,
        "bpf_map_update_elem",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.PTR_TO_MAP_KEY, Arg.PTR_TO_MAP_VALUE, Arg.ANYTHING),
        pkt_access=True,
    )
)
@native(inline=True)
def map_update_elem(env: int, map: int, key: int, value: int, flags: int) -> int:
    """Set the value at `key`."""
    return call(u64(map + MapHdr.UPDATE), env, map, key, value, flags)


@helper(
    Proto(
        FuncId.map_delete_elem,
        "bpf_map_delete_elem",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.PTR_TO_MAP_KEY),
        pkt_access=True,
    )
)
@native(inline=True)
def map_delete_elem(env: int, map: int, key: int) -> int:
    """Remove `key`."""
    return call(u64(map + MapHdr.DELETE), env, map, key)


@helper(
    Proto(
        FuncId.map_push_elem,
        "bpf_map_push_elem",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.PTR_TO_MAP_VALUE, Arg.ANYTHING),
        pkt_access=True,
    )
)
@native(inline=True)
def map_push_elem(env: int, map: int, value: int, flags: int) -> int:
    """Put a value into a queue or stack."""
    return call(u64(map + MapHdr.PUSH), env, map, value, flags)


@helper(
    Proto(
        FuncId.map_pop_elem,
        "bpf_map_pop_elem",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.UNINIT_MAP_VALUE),
    )
)
@native(inline=True)
def map_pop_elem(env: int, map: int, value: int) -> int:
    """Take the next value out of a queue or stack."""
    return call(u64(map + MapHdr.POP), env, map, value)


@helper(
    Proto(
        FuncId.map_peek_elem,
        "bpf_map_peek_elem",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.UNINIT_MAP_VALUE),
    )
)
@native(inline=True)
def map_peek_elem(env: int, map: int, value: int) -> int:
    """Copy the next value of a queue or stack."""
    return call(u64(map + MapHdr.PEEK), env, map, value)


@helper(
    Proto(
        FuncId.map_lookup_percpu_elem,
        "bpf_map_lookup_percpu_elem",
        Ret.PTR_TO_MAP_VALUE_OR_NULL,
        (Arg.CONST_MAP_PTR, Arg.PTR_TO_MAP_KEY, Arg.ANYTHING),
        pkt_access=True,
    )
)
@native(inline=True)
def map_lookup_percpu_elem(env: int, map: int, key: int, cpu: int) -> int:
    """Address of the value at `key` of a given CPU, or 0."""
    return call(u64(map + MapHdr.LOOKUP_PERCPU), env, map, key, cpu & 0xFFFF_FFFF)


@helper(
    Proto(
        FuncId.for_each_map_elem,
        "bpf_for_each_map_elem",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.PTR_TO_FUNC, Arg.PTR_TO_STACK_OR_NULL, Arg.ANYTHING),
    )
)
@native
def for_each_map_elem(env: int, map: int, callback: int, ctx: int, flags: int) -> int:
    """Call callback(map, key, value, ctx) for the elements until it returns 1; how many were visited."""
    if flags != 0:
        return _EINVAL
    return call(u64(map + MapHdr.FOR_EACH), env, map, callback, ctx)
