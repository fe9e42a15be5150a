"""Maps: one module per family, over shared memory, with one native source for each operation.

A map is a header in a heap (`header`), a sealed memfd region, and native functions that the header points to.
Helpers call those functions, generated code inlines them with the map's shape as constants, and bpf(2)
(`base.Map`) calls them with the same addresses: there is no second implementation.

`spec` says what a map is before it exists, `create` has one row per map type, `owner` says which programs may
meet in one. `array_ops`, `htab*`, `lru`, `pool`, `bucket`, `keys`, `values` are native; the classes beside
them do what only bpf(2) can.

Locks: a bucket's lock, then a spin lock in a value. They are held for a few instructions, never while
calling out. Readers take none: what they find stays mapped until the map's grace period has ended.
"""

from engine.maps.base import Map
from engine.maps.create import create_map
from engine.maps.header import ENOTSUPP, MapHdr, MapOps
from engine.maps.spec import MapHost, MapSpec

__all__ = ["ENOTSUPP", "Map", "MapHdr", "MapHost", "MapOps", "MapSpec", "create_map"]
