"""Signatures of functions, fixed and as bpftool prints them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.btf.build import BtfBuilder
from engine.btf.decl import signature, type_text
from engine.btf.types import DeclTag, Modifier, Param
from engine.btf.types import Kind as K
from engine.loader import parse_object
from tests.engine.btf.pinned import bpffs, bpffs_unavailable
from tests.engine.loader.compiled import compile_c, example
from tests.engine.loader.sources import SOURCES


def test_signatures() -> None:
    b = BtfBuilder()
    number = b.integer("int", 4)
    struct = b.pointer(b.const(b.struct("s", 4, [])))
    callback = b.pointer(b.func_proto(0, [Param("", number)]))
    rows = [Param("p", struct), Param("cb", callback), Param("e", b.enum("e", {"A": 1})), Param("", 0)]
    func = b.func("f", b.func_proto(number, rows))
    void = b.func("v", b.func_proto(0, []))
    btf = b.build()
    assert signature(btf, func) == "int f(const struct s * p, void (int )* cb, enum e e, ...)"
    assert signature(btf, void) == "void v()"
    assert signature(btf, number) is None


def test_types() -> None:
    b = BtfBuilder()
    number = b.integer("int", 4)
    rows = {
        b.array(number, 3, number): "int [3]",
        b.pointer(0): "void * ",
        b.volatile(b.typedef("t", number)): "volatile t ",
        b.fwd("u", union=True): "union u ",
        b.add(Modifier(K.RESTRICT, b.pointer(number))): "restrict int * ",
    }
    tag = b.add(Modifier(K.TYPE_TAG, number, "x"))
    note = b.add(DeclTag("x", number))
    btf = b.build()
    assert {type_id: type_text(btf, type_id) for type_id in rows} == rows
    assert type_text(btf, tag) is type_text(btf, note) is None


def test_endless_types_are_given_up() -> None:
    b = BtfBuilder()
    b.pointer(1)
    b.func("f", b.func_proto(1, []))
    assert type_text(b.build(), 1) is None
    assert signature(b.build(), 3) is None


def _objects() -> dict[str, bytes]:
    return {
        "latency": example("latency"),
        "count": example("count"),
        "subprogs": compile_c(SOURCES["subprogs"]),
    }


def test_bpftool_prints_the_same(tmp_path: Path) -> None:
    if reason := bpffs_unavailable():
        pytest.skip(reason)
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is not installed")
    for name, data in _objects().items():
        (tmp_path / name).write_bytes(data)
        spec = parse_object(data, name)
        assert spec.btf is not None
        with bpffs() as directory:
            load = ["bpftool", "prog", "loadall", str(tmp_path / name), str(directory / "p")]
            subprocess.run(load, check=True, capture_output=True)
            for prog in spec.progs.values():
                dump = ["bpftool", "prog", "dump", "xlated", "pinned", str(directory / "p" / prog.name)]
                text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
                ours = [f"{signature(spec.btf, info.type_id)}:" for info in prog.func_info]
                assert re.findall(r"^[^ ;].*\):$", text, re.MULTILINE) == ours
