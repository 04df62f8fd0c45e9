"""Registries: unique names, entries that are imported when they are used, and restoring."""

import sys
from pathlib import Path

import pytest

from negtrace._registry import Registry
from negtrace.errors import NegtraceError, UnknownNameError

SQUARE = """
from test_registry import SHAPES

SHAPES.register("square")(4)
"""
SHAPES: Registry[int] = Registry("shape", {"square": "lazy_square"})


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[int]:
    """A registry whose entry `square` is in a module that has not been imported."""
    (tmp_path / "lazy_square.py").write_text(SQUARE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lazy_square", raising=False)
    monkeypatch.setattr(SHAPES, "_entries", {})
    return SHAPES


def test_a_named_module_is_imported_when_its_entry_is_used(shapes: Registry[int]) -> None:
    assert "square" in shapes
    assert list(shapes) == ["square"]
    assert len(shapes) == 1
    assert "lazy_square" not in sys.modules
    assert shapes["square"] == 4
    assert "lazy_square" in sys.modules


def test_a_name_is_unique(shapes: Registry[int]) -> None:
    shapes.register("triangle")(3)
    for taken in ("triangle", "square"):
        with pytest.raises(NegtraceError, match=f"shape '{taken}' is already registered; choose"):
            shapes.register(taken)(5)
    assert shapes["square"] == 4


def test_an_unknown_name_is_answered_with_the_known_ones(shapes: Registry[int]) -> None:
    with pytest.raises(UnknownNameError, match="unknown shape 'circle'; known: square"):
        _ = shapes["circle"]


def test_only_what_was_registered_inside_the_with_is_removed(shapes: Registry[int]) -> None:
    with shapes.restored():
        shapes.register("triangle")(3)
        assert shapes["square"] == 4
    assert list(shapes) == ["square"]
    assert shapes["square"] == 4
