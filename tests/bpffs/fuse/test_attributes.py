"""Who plays root, and what stat(2) says."""

from hypothesis import given
from hypothesis import strategies as st

from bpffs.fuse.attributes import Owners, attributes
from engine.kernfs import StaticDir, TextFile

IDS = st.integers(0, 1 << 31)


@given(IDS, IDS)
def test_the_swap_undoes_itself(mounter: int, uid: int) -> None:
    owners = Owners(mounter, mounter)
    assert owners.swap_uid(owners.swap_uid(uid)) == uid
    assert owners.swap_gid(owners.swap_gid(uid)) == uid


def test_the_mounter_is_root_inside() -> None:
    owners = Owners(1000, 100)
    assert (owners.swap_uid(0), owners.swap_uid(1000), owners.swap_uid(5)) == (1000, 0, 5)
    assert (owners.swap_gid(0), owners.swap_gid(100)) == (100, 0)


def test_attributes() -> None:
    node = TextFile(0o640, uid=0, gid=7)
    table = StaticDir(0o755, {"f": node})
    entry = attributes(9, node, Owners(1000, 1000), table)
    assert (entry.st_ino, entry.st_mode, entry.st_nlink, entry.st_size) == (9, 0o100640, 1, 0)
    assert (entry.st_uid, entry.st_gid, entry.st_mtime_ns) == (1000, 7, node.mtime_ns)
    assert entry.entry_timeout > 0
    assert attributes(9, node, Owners()).entry_timeout == 0
