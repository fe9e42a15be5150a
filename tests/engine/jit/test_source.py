"""Reading native functions: the text must be the one that was loaded."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from engine.errors import KernelError
from engine.jit.source import closure, tree_of

_TEXT = """
from engine.jit.lang import native

@native
def doubled(x: int) -> int:
    return x + x

def made_with(extra: int):
    @native
    def more(x: int) -> int:
        return doubled(x) + extra
    return more

more = made_with(4)
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[tuple[ModuleType, Path]]:
    path = tmp_path / "words_of_a_test.py"
    path.write_text(_TEXT)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    yield module, path
    del sys.modules[path.stem]


def test_the_text_that_was_loaded(loaded: tuple[ModuleType, Path]) -> None:
    module, _ = loaded
    assert [tree_of(function).name for function in closure([module.more])] == ["more", "doubled"]
    assert tree_of(module.more).lineno == 10


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return x + x", "return x - x"),
        ("return x + x", "return x + 3"),
        ("from engine", "\nfrom engine"),
        ("@native\ndef doubled", "# moved\n\n\n@native\ndef doubled"),
        (_TEXT, ""),
        (_TEXT, "))"),
    ],
)
def test_a_file_that_has_changed_since_is_refused(
    loaded: tuple[ModuleType, Path], old: str, new: str
) -> None:
    module, path = loaded
    path.write_text(_TEXT.replace(old, new))
    with pytest.raises(KernelError, match=r"ESTALE.*doubled.*changed since"):
        tree_of(module.doubled)
