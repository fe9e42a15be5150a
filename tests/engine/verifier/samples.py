"""Random sets of numbers with an abstraction of each, for tests of soundness."""

import random

from engine.verifier.bounds import (
    S32_MAX,
    S32_MIN,
    S64_MAX,
    S64_MIN,
    U32_MAX,
    U64_MAX,
    Bounds,
    s32,
    s64,
    sync,
)
from engine.verifier.tnum import M32, M64, tnum_union

__all__ = ["number", "sample"]


def number(rng: random.Random) -> int:
    """A u64, often near an edge of some width."""
    match rng.randrange(6):
        case 0:
            return rng.randrange(-5, 6) & M64
        case 1:
            return ((1 << rng.randrange(64)) + rng.randrange(-2, 3)) & M64
        case 2:
            return rng.getrandbits(64)
        case 3:
            return rng.getrandbits(rng.randrange(1, 33))
        case 4:
            return -rng.getrandbits(rng.randrange(1, 64)) & M64
        case _:
            return s32(rng.getrandbits(32)) & M64


def _range(rng: random.Random, values: list[int], low: int, high: int) -> tuple[int, int]:
    """The range of some numbers, each end now and then left open."""
    first = low if rng.random() < 0.3 else min(values)
    last = high if rng.random() < 0.3 else max(values)
    return first, last


def sample(rng: random.Random) -> tuple[list[int], Bounds]:
    """Some numbers and bounds that hold all of them."""
    base = number(rng)
    values = [base]
    mode = rng.randrange(3)
    for _ in range(rng.randrange(0, 5)):
        if mode == 0:
            values.append((base + rng.randrange(0, 1 << rng.randrange(1, 20))) & M64)
        elif mode == 1:
            values.append(base ^ (rng.getrandbits(64) & rng.getrandbits(64) & rng.getrandbits(64)))
        else:
            values.append(number(rng))
    v, m = values[0], 0
    for value in values[1:]:
        v, m = tnum_union(v, m, value, 0)
    if rng.random() < 0.3:
        v, m = 0, M64
    bounds = sync(
        v,
        m,
        *_range(rng, [s64(x) for x in values], S64_MIN, S64_MAX),
        *_range(rng, values, 0, U64_MAX),
        *_range(rng, [s32(x) for x in values], S32_MIN, S32_MAX),
        *_range(rng, [x & M32 for x in values], 0, U32_MAX),
    )
    return values, bounds
