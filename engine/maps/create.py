"""One row per map type, and `create_map` (kernel/bpf/syscall.c, map_create)."""

from typing import TYPE_CHECKING

from engine.abi.bpf import MapType
from engine.maps.array import ArrayMap, PercpuArrayMap
from engine.maps.base import Map
from engine.maps.bloom import BloomFilterMap
from engine.maps.devmap_hash import DevHashMap
from engine.maps.hash import HashMap, LruHashMap, LruPercpuHashMap, PercpuHashMap
from engine.maps.hash_of_maps import HashOfMaps
from engine.maps.lpm import LpmTrieMap
from engine.maps.objects import ArrayOfMaps, CgroupArrayMap, PerfEventArrayMap, ProgArrayMap
from engine.maps.queue import QueueMap, StackMap
from engine.maps.redirect import CpuMap, DevMap
from engine.maps.ring import RingMap
from engine.maps.spec import MapHost, MapSpec, check_common, refuse_unless
from engine.maps.stack_trace import StackTraceMap
from engine.maps.task_storage import TaskStorageMap
from engine.maps.xskmap import XskMap

if TYPE_CHECKING:
    from engine.machine import Machine

__all__ = ["FAMILIES", "create_map"]

FAMILIES: dict[MapType, type[Map]] = {
    MapType.HASH: HashMap,
    MapType.ARRAY: ArrayMap,
    MapType.PERCPU_HASH: PercpuHashMap,
    MapType.PERCPU_ARRAY: PercpuArrayMap,
    MapType.LRU_HASH: LruHashMap,
    MapType.LRU_PERCPU_HASH: LruPercpuHashMap,
    MapType.QUEUE: QueueMap,
    MapType.STACK: StackMap,
    MapType.PROG_ARRAY: ProgArrayMap,
    MapType.PERF_EVENT_ARRAY: PerfEventArrayMap,
    MapType.CGROUP_ARRAY: CgroupArrayMap,
    MapType.ARRAY_OF_MAPS: ArrayOfMaps,
    MapType.HASH_OF_MAPS: HashOfMaps,
    MapType.DEVMAP: DevMap,
    MapType.CPUMAP: CpuMap,
    MapType.XSKMAP: XskMap,
    MapType.DEVMAP_HASH: DevHashMap,
    MapType.RINGBUF: RingMap,
    MapType.BLOOM_FILTER: BloomFilterMap,
    MapType.TASK_STORAGE: TaskStorageMap,
    MapType.LPM_TRIE: LpmTrieMap,
    MapType.STACK_TRACE: StackTraceMap,
}


def create_map(spec: MapSpec, machine: "Machine | None" = None) -> Map:
    """A new map, with an id where `machine` is given (which does not keep it alive).

    Raises KernelError: EINVAL, E2BIG, ENOMEM or ENOTSUPP, as BPF_MAP_CREATE does.
    """
    check_common(spec)
    family = FAMILIES.get(spec.type)
    refuse_unless(family, f"map type {spec.type} is not supported")
    assert family is not None
    if machine is None:
        host = MapHost.alone()
    else:
        host = MapHost(machine.heap, machine.nr_cpus, machine.epoch.retire)
    family.check(spec, host.nr_cpus)
    created = family(spec, host)
    if machine is not None:
        created.id = machine.maps.add(created)
    return created
