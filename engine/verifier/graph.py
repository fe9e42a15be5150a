"""Orders over the control flow of each function: postorder, and the components that loops make."""

from collections.abc import Sequence

__all__ = ["components", "loops_back", "postorder"]

_SETTLED = 1 << 62


def loops_back(followers: Sequence[list[int]]) -> bool:
    """Whether any instruction is followed by itself or an earlier one."""
    for here, ways in enumerate(followers):
        for way in ways:
            if way <= here:
                return True
    return False


def postorder(followers: Sequence[list[int]], starts: Sequence[int]) -> list[int]:
    """Instructions, those that follow before those they follow, one function after the other
    (`compute_postorder`)."""
    found: list[int] = []
    seen, opened = bytearray(len(followers)), bytearray(len(followers))
    for start in starts:
        stack = [start]
        seen[start] = 1
        while stack:
            top = stack[-1]
            if opened[top]:
                found.append(top)
                stack.pop()
                continue
            for follower in followers[top]:
                if not seen[follower]:
                    seen[follower] = 1
                    stack.append(follower)
            opened[top] = 1
    return found


def components(followers: Sequence[list[int]]) -> list[int]:
    """For each instruction the number, from 1 on, of the loop that it is in, 0 where it is in none.

    A loop is a strongly connected component of more than one instruction, or one that follows itself.
    Tarjan's algorithm as Pearce wrote it, with the numbers of Linux (`compute_scc`).
    """
    count = len(followers)
    numbers, order, low = [0] * count, [0] * count, [0] * count
    next_order = next_number = 1
    for first in range(count):
        if order[first]:
            continue
        members: list[int] = []
        path = [(first, 0)]
        while path:
            here, turn = path.pop()
            if not order[here]:
                order[here] = low[here] = next_order
                next_order += 1
                members.append(here)
            ways = followers[here]
            while turn < len(ways) and order[ways[turn]]:
                low[here] = min(low[here], low[ways[turn]])
                turn += 1
            if turn < len(ways):
                path += (here, turn), (ways[turn], 0)
                continue
            if low[here] < order[here]:
                continue
            numbered = members[-1] != here or here in ways
            member = -1
            while member != here:
                member = members.pop()
                low[member] = _SETTLED
                if numbered:
                    numbers[member] = next_number
            next_number += numbered
    return numbers
