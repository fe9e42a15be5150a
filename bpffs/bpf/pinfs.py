"""The file system of /sys/fs/bpf: its root, its lock, and the verbs of its directories."""

import errno
import logging
import threading
from typing import TypeVar

from bpffs.bpf.directory import BpfDir
from bpffs.bpf.grammar import parse_map
from bpffs.bpf.lineverb import LineVerb
from bpffs.bpf.loaded import object_directory, pin_name
from bpffs.bpf.mappin import MapPin
from bpffs.bpf.pins import Pin
from bpffs.bpf.progpin import ProgPin
from bpffs.bpf.upload import Upload
from engine.errors import KernelError
from engine.idr import Idr
from engine.kernfs import Caller, File, Node, TextFile
from engine.loader.load import LoadedObject, load_object
from engine.machine import Machine
from engine.maps import Map, create_map
from engine.progs import Prog

__all__ = ["BpfFs"]

_log = logging.getLogger(__name__)

_OBJECT_SUFFIXES = ("bpf.o", "o")
_MAP_SUFFIX = "map"
_LOG_SUFFIX = ".log"


class BpfFs:
    """One /sys/fs/bpf. `lock` guards all directories; `root` is the first of them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.lock = threading.RLock()
        self.root = BpfDir(self, 0o1777)

    def is_verb(self, suffix: str) -> bool:
        """Whether NAME.suffix can be created: an object or a map."""
        return suffix in _OBJECT_SUFFIXES or suffix == _MAP_SUFFIX

    def verb(self, directory: BpfDir, stem: str, suffix: str, caller: Caller) -> File:
        """The file that `directory`/stem.suffix is while it is written."""

        name = f"{stem}.{suffix}"
        if suffix == _MAP_SUFFIX:
            return LineVerb(
                lambda content: self._create_map(directory, stem, content, caller),
                lambda: directory.finish_upload(name),
                caller,
            )

        def load(content: bytes) -> bool:
            made = self._load(directory, stem, content, caller)
            made.source = (suffix, directory.uploads[name])
            return True

        def done(reason: KernelError | None) -> None:
            if reason is not None:
                self._reject(directory, stem, reason, caller)
            directory.finish_upload(name)

        return Upload(load, done, caller)

    def _create_map(self, directory: BpfDir, stem: str, content: bytes, caller: Caller) -> None:
        spec = parse_map(content.decode("utf-8", "surrogateescape"), stem, self)
        made = create_map(spec, self.machine)
        directory.add(stem, MapPin(made, self, uid=caller.uid, gid=caller.gid))

    def _load(self, directory: BpfDir, stem: str, content: bytes, caller: Caller) -> BpfDir:
        """Load an object as `directory`/stem; a rejection leaves stem.log. Raises KernelError."""
        directory.extras.pop(stem + _LOG_SUFFIX, None)
        try:
            loaded = load_object(content, self.machine, name=stem, uid=caller.uid, pinned=self._map_pinned_as)
        except KernelError as error:
            self._reject(directory, stem, error, caller)
            raise
        made = object_directory(self, loaded, self._share(loaded, caller), caller)
        try:
            directory.add(stem, made)
        except KernelError:
            self._clear(made)
            raise
        return made

    def _reject(self, directory: BpfDir, stem: str, error: KernelError, caller: Caller) -> None:
        """Leave `directory`/stem.log, which says why."""
        text = _whole_log(error)
        _log.info("%s rejected: %s", stem, error)
        with self.lock:
            directory.extras[stem + _LOG_SUFFIX] = TextFile(
                0o644, lambda: text, uid=caller.uid, gid=caller.gid
            )

    def _map_pinned_as(self, name: str) -> Map | None:
        """The map pinned by that name in the root: objects share it (LIBBPF_PIN_BY_NAME)."""
        with self.lock:
            pin = self.root.nodes.get(pin_name(name))
            return pin.map if isinstance(pin, MapPin) else None

    def _share(self, loaded: LoadedObject, caller: Caller) -> dict[str, MapPin]:
        """Pins in the root of the maps that are pinned by name, made where they are missing."""
        pins: dict[str, MapPin] = {}
        for definition in loaded.spec.maps.values():
            if not definition.pin_by_name:
                continue
            with self.lock:
                found = self.root.nodes.get(pin_name(definition.name))
                if not isinstance(found, MapPin):
                    found = MapPin(loaded.maps[definition.name], self, uid=caller.uid, gid=caller.gid)
                    self.root.add(pin_name(definition.name), found)
            pins[definition.name] = found
        return pins

    def program(self, path: str) -> Prog:
        """The program pinned at `path`, below or above /sys/fs/bpf. KernelError ENOENT, ENOTDIR, EINVAL."""
        node = self._node(path)
        if not isinstance(node, ProgPin):
            raise KernelError(errno.EINVAL, f"{path} is no pinned program")
        return node.prog

    def _node(self, path: str) -> Node:
        node: Node = self.root
        for name in path.rpartition("sys/fs/bpf/")[2].strip("/").split("/"):
            if not isinstance(node, BpfDir):
                raise KernelError(errno.ENOTDIR)
            node = node.lookup(name, Caller())
        return node

    def find_prog(self, word: str, name: str) -> Prog:
        """See `grammar.Names`. KernelError ENOENT, EINVAL for what is no program or no single one."""
        return self.program(name) if word == "pinned" else _find(self.machine.progs, word, name)

    def find_map(self, word: str, name: str) -> Map:
        """See `grammar.Names`. KernelError ENOENT, EINVAL for what is no map or no single one."""
        if word != "pinned":
            return _find(self.machine.maps, word, name)
        node = self._node(name)
        if not isinstance(node, MapPin):
            raise KernelError(errno.EINVAL, f"{name} is no pinned map")
        return node.map

    def close(self) -> None:
        """Detach every link and let go of everything pinned."""
        with self.lock:
            self._clear(self.root)

    def _clear(self, directory: BpfDir) -> None:
        for name, node in list(directory.nodes.items()):
            if isinstance(node, BpfDir):
                self._clear(node)
            del directory.nodes[name]
            if isinstance(node, Pin):
                node.unnamed()
        directory.extras.clear()


_Named = TypeVar("_Named", Map, Prog)


def _find(rows: Idr[_Named], word: str, name: str) -> _Named:
    """The object with that id, or the only one of that name."""
    if word == "id":
        if not name.isdecimal():
            raise KernelError(errno.EINVAL, f"not a number: {name}")
        return rows.get(int(name))
    found = [row for row in rows.values() if row.name == name]
    if len(found) > 1:
        raise KernelError(errno.EINVAL, f"several are called {name}")
    if not found:
        raise KernelError(errno.ENOENT, f"none is called {name}")
    return found[0]


def _whole_log(error: KernelError) -> str:
    """The verifier's log, if it was the verifier, and the reason."""
    log = str(getattr(error, "log", ""))
    return f"{log}{'' if log.endswith(chr(10)) or not log else chr(10)}{error}\n"
