"""A loaded object as a directory: `maps/`, `progs/`, `links/` and the verb `attach.ctl`."""

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bpffs.bpf.attach import attach
from bpffs.bpf.directory import BpfDir
from bpffs.bpf.linkpin import LinkPin
from bpffs.bpf.mappin import MapPin
from bpffs.bpf.progpin import ProgPin
from engine.errors import KernelError
from engine.kernfs import Caller, TextFile
from engine.loader import parse_secname
from engine.loader.load import LoadedObject

if TYPE_CHECKING:
    from bpffs.bpf.pinfs import BpfFs

__all__ = ["object_directory", "pin_name"]


def pin_name(name: str) -> str:
    """`name` without the dots that bpffs refuses, as libbpf pins `obj.rodata` (sanitize_pin_path)."""
    return name.replace(".", "_")


_ATTACH_LOG = "attach.log"


class _Attachment:
    """What `attach.ctl` in `directory` does: the links in `links` that it made."""

    def __init__(
        self, fs: "BpfFs", loaded: LoadedObject, directory: BpfDir, links: BpfDir, owner: Caller
    ) -> None:
        self._fs = fs
        self._loaded = loaded
        self._directory = directory
        self._links = links
        self._owner = owner

    def _held(self) -> list[str]:
        with self._fs.lock:
            return [
                name
                for name in self._loaded.progs
                if isinstance(self._links.nodes.get(pin_name(name)), LinkPin)
            ]

    def show(self) -> str:
        """1 if a program of the object is attached by its name in `links`, else 0."""
        return "1\n" if self._held() else "0\n"

    def store(self, data: bytes) -> None:
        """1 attaches every program that is not attached, all or none; 0 detaches. Raises KernelError.

        After a refusal attach.log, beside attach.ctl, says which program could not be attached and why.
        """
        word = data.strip()
        with self._fs.lock:
            self._directory.extras.pop(_ATTACH_LOG, None)
        if word == b"1":
            self._attach()
        elif word == b"0":
            for name in self._held():
                self._links.unlink(pin_name(name), self._owner)
        else:
            raise KernelError(errno.EINVAL, "expected 0 or 1")

    def _attach(self) -> None:
        held = self._held()
        made: list[str] = []
        name = ""
        try:
            for name, prog in self._loaded.progs.items():
                if name in held:
                    continue
                section = parse_secname(self._loaded.sections[name])
                link = attach(self._fs.machine, prog, section)
                try:
                    pin = LinkPin(link, uid=self._owner.uid, gid=self._owner.gid)
                    self._links.add(pin_name(name), pin)
                except KernelError:
                    link.detach()
                    raise
                made.append(name)
        except KernelError as error:
            for attached in made:
                self._links.unlink(pin_name(attached), self._owner)
            self._explain(f"prog '{name}', {self._loaded.sections[name]}: {error}\n")
            raise

    def _explain(self, text: str) -> None:
        with self._fs.lock:
            self._directory.extras[_ATTACH_LOG] = TextFile(
                0o644, lambda: text, uid=self._owner.uid, gid=self._owner.gid
            )


def object_directory(
    fs: "BpfFs", loaded: LoadedObject, shared: Mapping[str, MapPin], caller: Caller
) -> BpfDir:
    """The directory of an object that `caller` loaded; it alone holds its programs, and its maps but for
    those in `shared`, which get another name here.
    """
    made = BpfDir(fs, 0o755, caller.uid, caller.gid)
    parts = {name: BpfDir(fs, 0o755, caller.uid, caller.gid) for name in ("maps", "progs", "links")}
    for name, part in parts.items():
        made.add(name, part)
    for name, target in loaded.maps.items():
        pin = shared.get(name) or MapPin(target, fs, uid=caller.uid, gid=caller.gid)
        parts["maps"].add(pin_name(name), pin)
    for name, prog in loaded.progs.items():
        parts["progs"].add(pin_name(name), ProgPin(prog, uid=caller.uid, gid=caller.gid))
    attachment = _Attachment(fs, loaded, made, parts["links"], caller)
    made.extras["attach.ctl"] = TextFile(
        0o600, attachment.show, attachment.store, slow=True, uid=caller.uid, gid=caller.gid
    )
    return made
