"""What is inside an object file of ours: the machine code of its functions."""

import io

from elftools.elf.elffile import ELFFile

__all__ = ["text_of"]


def text_of(image: bytes) -> bytes:
    """The code of object `image`: its executable sections in a row, before relocation."""
    elf = ELFFile(io.BytesIO(image))
    return b"".join(
        section.data()
        for section in elf.iter_sections()
        if section.name == ".text" or section.name.startswith(".text.")
    )
