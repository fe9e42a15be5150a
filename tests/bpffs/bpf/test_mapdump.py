"""Views of maps against bpftool, with the same words given to both."""

import re
import shutil
import subprocess

import pytest

from bpffs.bpf.grammar import parse_command, parse_map
from bpffs.bpf.mapdump import hex_pieces, info_pieces, json_pieces
from engine.maps import create_map
from tests.bpffs.bpf.test_grammar import NAMES
from tests.engine.btf.pinned import bpffs, bpffs_unavailable


def _bpftool(*words: str) -> str:
    return subprocess.run(["bpftool", *words], capture_output=True, text=True, check=True).stdout


def _comparable(text: str) -> str:
    """Without the map's number, and without the memory that each kernel charges."""
    return re.sub(r"memlock \d+B", "memlock", re.sub(r"^\d+:", "", text))


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ("type hash key 4 value 8 entries 1 name h flags 1", ["update key 1 0 0 0 value 9 0 0 0 0 0 0 0"]),
        ("type array key 4 value 4 entries 2 name a", ["update key 1 0 0 0 value hex 0a 00 ff 01 exist"]),
        ("type array key 4 value 30 entries 1 name long flags 0x400", ["freeze"]),
        ("type lru_hash key 17 value 1 entries 4 name l", ["update key " + "7 " * 17 + "value 1 any"]),
        ("type percpu_array key 4 value 3 entries 1 name p", ["update key 0 0 0 0 value 1 2 3"]),
        ("type percpu_hash key 2 value 20 entries 1 name q", ["update key 1 2 value" + " 5" * 20]),
        ("type lpm_trie key 8 value 1 entries 4 name t flags 1", ["update key 8 0 0 0 10 0 0 0 value 1"]),
    ],
)
def test_bpftool_shows_the_same(words: str, commands: list[str]) -> None:
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is not installed")
    if reason := bpffs_unavailable():
        pytest.skip(reason)
    ours = create_map(parse_map(words, "m", NAMES))
    for command in commands:
        parse_command(command, ours, NAMES).apply(ours)
    with bpffs() as directory:
        pin = ["pinned", str(directory / "m")]
        _bpftool("map", "create", str(directory / "m"), *words.split())
        for command in commands:
            verb, *rest = command.split()
            _bpftool("map", verb, *pin, *rest)
        assert b"".join(hex_pieces(ours)).decode() == _bpftool("map", "dump", *pin)
        assert b"".join(json_pieces(ours)).decode() == _bpftool("-j", "map", "dump", *pin)
        shown = b"".join(info_pieces(ours)).decode()
        assert _comparable(shown) == _comparable(_bpftool("map", "show", *pin))
