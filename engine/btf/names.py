"""Names of types: flavours, and what the kernel lets pass as a name."""

__all__ = ["essential"]


def essential(name: str) -> str:
    """`name` without its flavour: what comes before the last `___` that has text on both sides.

    `task_struct___old` is a flavour of `task_struct` (`bpf_core_essential_name_len`, libbpf).
    """
    for at in range(len(name) - 5, -1, -1):
        if name[at] != "_" and name[at + 1 : at + 4] == "___" and name[at + 4] != "_":
            return name[: at + 1]
    return name
