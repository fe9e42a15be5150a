"""Which helpers may be called on which map types (`check_map_func_compatibility`)."""

from engine.abi.bpf import FuncId, MapType
from engine.verifier.env import Env

__all__ = ["check_map_func", "maps_for"]

_M, _F = MapType, FuncId
_ONLY: dict[MapType, frozenset[FuncId]] = {
    _M.PROG_ARRAY: frozenset({_F.tail_call}),
    _M.PERF_EVENT_ARRAY: frozenset(
        {
            _F.perf_event_read,
            _F.perf_event_output,
            _F.skb_output,
            _F.perf_event_read_value,
            _F.xdp_output,
        }
    ),
    _M.RINGBUF: frozenset(
        {
            _F.ringbuf_output,
            _F.ringbuf_reserve,
            _F.ringbuf_query,
            _F.ringbuf_reserve_dynptr,
            _F.ringbuf_submit_dynptr,
            _F.ringbuf_discard_dynptr,
        }
    ),
    _M.USER_RINGBUF: frozenset({_F.user_ringbuf_drain}),
    _M.STACK_TRACE: frozenset({_F.get_stackid}),
    _M.CGROUP_ARRAY: frozenset({_F.skb_under_cgroup, _F.current_task_under_cgroup}),
    _M.CGROUP_STORAGE: frozenset({_F.get_local_storage}),
    _M.PERCPU_CGROUP_STORAGE: frozenset({_F.get_local_storage}),
    _M.DEVMAP: frozenset({_F.redirect_map, _F.map_lookup_elem}),
    _M.DEVMAP_HASH: frozenset({_F.redirect_map, _F.map_lookup_elem}),
    _M.CPUMAP: frozenset({_F.redirect_map}),
    _M.XSKMAP: frozenset({_F.redirect_map, _F.map_lookup_elem}),
    _M.ARRAY_OF_MAPS: frozenset({_F.map_lookup_elem}),
    _M.HASH_OF_MAPS: frozenset({_F.map_lookup_elem}),
    _M.QUEUE: frozenset({_F.map_peek_elem, _F.map_pop_elem, _F.map_push_elem}),
    _M.STACK: frozenset({_F.map_peek_elem, _F.map_pop_elem, _F.map_push_elem}),
    _M.BLOOM_FILTER: frozenset({_F.map_peek_elem, _F.map_push_elem}),
    _M.TASK_STORAGE: frozenset({_F.task_storage_get, _F.task_storage_delete}),
}
_PERCPU = frozenset({_M.PERCPU_ARRAY, _M.PERCPU_HASH, _M.LRU_PERCPU_HASH})
_EACH = frozenset({_M.ARRAY, _M.PERCPU_ARRAY, _M.HASH, _M.PERCPU_HASH, _M.LRU_HASH, _M.LRU_PERCPU_HASH})
_NEEDS: dict[FuncId, frozenset[MapType]] = {
    _F.tail_call: frozenset({_M.PROG_ARRAY}),
    _F.perf_event_read: frozenset({_M.PERF_EVENT_ARRAY}),
    _F.perf_event_output: frozenset({_M.PERF_EVENT_ARRAY}),
    _F.perf_event_read_value: frozenset({_M.PERF_EVENT_ARRAY}),
    _F.skb_output: frozenset({_M.PERF_EVENT_ARRAY}),
    _F.xdp_output: frozenset({_M.PERF_EVENT_ARRAY}),
    _F.ringbuf_output: frozenset({_M.RINGBUF}),
    _F.ringbuf_reserve: frozenset({_M.RINGBUF}),
    _F.ringbuf_query: frozenset({_M.RINGBUF}),
    _F.ringbuf_reserve_dynptr: frozenset({_M.RINGBUF}),
    _F.get_stackid: frozenset({_M.STACK_TRACE}),
    _F.current_task_under_cgroup: frozenset({_M.CGROUP_ARRAY}),
    _F.skb_under_cgroup: frozenset({_M.CGROUP_ARRAY}),
    _F.redirect_map: frozenset({_M.DEVMAP, _M.DEVMAP_HASH, _M.CPUMAP, _M.XSKMAP}),
    _F.get_local_storage: frozenset({_M.CGROUP_STORAGE, _M.PERCPU_CGROUP_STORAGE}),
    _F.map_peek_elem: frozenset({_M.QUEUE, _M.STACK, _M.BLOOM_FILTER}),
    _F.map_pop_elem: frozenset({_M.QUEUE, _M.STACK}),
    _F.map_push_elem: frozenset({_M.QUEUE, _M.STACK, _M.BLOOM_FILTER}),
    _F.map_lookup_percpu_elem: _PERCPU,
    _F.for_each_map_elem: _EACH,
    _F.user_ringbuf_drain: frozenset({_M.USER_RINGBUF}),
    _F.task_storage_get: frozenset({_M.TASK_STORAGE}),
    _F.task_storage_delete: frozenset({_M.TASK_STORAGE}),
}


def maps_for(helper: FuncId) -> frozenset[MapType] | None:
    """Types of maps that a helper is for; None where it leaves that to the map."""
    return _NEEDS.get(helper)


def check_map_func(env: Env, kind: MapType | None, number: int) -> None:
    """Refuse a helper on a map that it has no meaning for."""
    if kind is None:
        return
    only, needs = _ONLY.get(kind), _NEEDS.get(FuncId(number))
    if (only is not None and number not in only) or (needs is not None and kind not in needs):
        name = FuncId(number).name
        env.invalid(f"cannot pass map_type {int(kind)} into func bpf_{name}#{number}")
