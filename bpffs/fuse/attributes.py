"""stat(2) of nodes, and whose they are shown to be.

Owners are as on Linux: root's, unless somebody else made them. In a mount that belongs to an ordinary user,
that user plays root: what the model says is user 0's is shown as theirs and the other way round, a swap,
so no two owners fall together. The kernel's own permission checks (`default_permissions`) then hold for
every caller exactly as on Linux, and the user who mounted may do what root may.
"""

from dataclasses import dataclass

import pyfuse3

from engine.kernfs import Caller, Node, StaticDir

__all__ = ["Owners", "attributes"]

STATIC_SECONDS = 60.0
"""How long the kernel may keep a literal table: names never change, attributes only through the kernel."""

WALK_SECONDS = 0.001
"""How long it may keep other attributes: one path walk, so a lookup serves the permission check too."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Who plays root: user and group ids of the mounting process (0 and 0 change nothing)."""

    uid: int = 0
    gid: int = 0

    def swap_uid(self, uid: int) -> int:
        """The model's user id as the mount shows it, or the other way round."""
        return self.uid if uid == 0 else 0 if uid == self.uid else uid

    def swap_gid(self, gid: int) -> int:
        """The model's group id as the mount shows it, or the other way round."""
        return self.gid if gid == 0 else 0 if gid == self.gid else gid

    def caller(self, ctx: pyfuse3.RequestContext) -> Caller:
        """Who asks, in the model's ids."""
        return Caller(ctx.pid, self.swap_uid(ctx.uid), self.swap_gid(ctx.gid), ctx.umask)


def attributes(
    number: int, node: Node, owners: Owners, parent: Node | None = None
) -> pyfuse3.EntryAttributes:
    """`struct stat` of `node`; `parent` is the directory it was looked up in, if it was."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = number
    entry.st_mode = node.mode
    entry.st_nlink = node.nlink
    entry.st_uid = owners.swap_uid(node.uid)
    entry.st_gid = owners.swap_gid(node.gid)
    entry.st_size = node.size
    entry.st_atime_ns = node.atime_ns
    entry.st_mtime_ns = node.mtime_ns
    entry.st_ctime_ns = node.ctime_ns
    entry.entry_timeout = STATIC_SECONDS if isinstance(parent, StaticDir) else 0
    entry.attr_timeout = STATIC_SECONDS if isinstance(node, StaticDir) else WALK_SECONDS
    return entry
