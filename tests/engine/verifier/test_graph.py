"""Orders over control flow: what follows comes first, and loops are found."""

import random

from engine.verifier.graph import components, postorder


def test_postorder_of_each_function() -> None:
    diamond = [[1, 2], [3], [3], []]
    assert postorder(diamond, [0]) == [3, 2, 1, 0]
    assert postorder([*diamond, [5], []], [0, 4]) == [3, 2, 1, 0, 5, 4]


def test_loops_are_numbered_from_the_inside() -> None:
    nested = [[1], [2], [1, 3], [0, 4], [5], [5, 6], []]
    assert components(nested) == [2, 2, 2, 2, 0, 1, 0]
    assert components([[1, 2], [1], [2, 3], []]) == [0, 1, 2, 0]
    assert components([[1], [2], []]) == [0, 0, 0]


def _reachable(followers: list[list[int]], start: int) -> set[int]:
    found: set[int] = set()
    work = list(followers[start])
    while work:
        node = work.pop()
        if node not in found:
            found.add(node)
            work += followers[node]
    return found


def test_components_of_random_graphs() -> None:
    rng = random.Random(1)
    for _ in range(300):
        count = rng.randrange(1, 12)
        followers = [rng.sample(range(count), min(count, rng.randrange(3))) for _ in range(count)]
        numbers, reach = components(followers), [_reachable(followers, n) for n in range(count)]
        for a in range(count):
            assert bool(numbers[a]) == (a in reach[a]), followers
            for b in range(a):
                together = b in reach[a] and a in reach[b]
                assert together == (numbers[a] == numbers[b] != 0), followers


def test_a_long_chain_needs_no_deep_stack() -> None:
    count = 100_000
    followers = [[n + 1] for n in range(count - 1)] + [[0]]
    assert set(components(followers)) == {1}
    assert postorder(followers, [0])[0] == count - 1
