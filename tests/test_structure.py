"""The layers: who may import whom, and in which room the outside libraries live."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("engine", "tracefs", "bpffs")
"""From the bottom up; a layer imports those before it."""

ROOMS = {"pyfuse3": "bpffs", "trio": "bpffs", "llvmlite": "engine/jit"}
PTRACE_ROOM = "engine/tracees"

FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def test_there_is_something_to_check() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    place = path.relative_to(ROOT)
    above = LAYERS[LAYERS.index(place.parts[0]) + 1 :]
    tops = {name.partition(".")[0] for name in imported(path)}
    assert not tops & {*above, "tests", "contrib"}
    for library, room in ROOMS.items():
        assert library not in tops or place.is_relative_to(room), f"{library} belongs in {room}"


def test_ptrace_is_called_in_its_room_only() -> None:
    calls = [
        str(path.relative_to(ROOT))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id).lower() == "ptrace"
    ]
    assert calls
    assert all(Path(call).is_relative_to(PTRACE_ROOM) for call in calls)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for_and_what_it_offers(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert (ast.get_docstring(tree) or "").strip(" .")
    assert any(
        isinstance(node, ast.Assign | ast.AnnAssign) and "__all__" in ast.unparse(node) for node in tree.body
    )
