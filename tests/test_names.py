"""One name for one thing, and docstrings that begin with the thing."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "negtrace"

QUESTIONS = ("What", "Which", "How", "Where", "Whether")
"""Words that no docstring begins with: it begins with the noun or the verb."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield every module of the package but the catalogues, by its dotted name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name, ast.parse(path.read_text("utf-8"))


def public_names(module: ast.Module) -> list[str]:
    """Return the names in a module's `__all__`, if they are listed there."""
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def docstrings(module: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and its functions."""
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def test_a_public_name_is_defined_once() -> None:
    places: dict[str, list[str]] = {}
    for module, tree in modules():
        if not module.endswith("__init__"):
            for name in public_names(tree):
                places.setdefault(name, []).append(module)
    repeated = {name: where for name, where in places.items() if len(where) > 1}
    assert repeated == {}


def test_no_docstring_begins_with_a_question() -> None:
    asking = [
        (module, text)
        for module, tree in modules()
        for text in docstrings(tree)
        if text.startswith(tuple(f"{word} " for word in QUESTIONS))
    ]
    assert asking == [], "begin with the noun or the verb"


def test_the_scan_sees_names_and_docstrings() -> None:
    code = '"""How."""\n__all__ = ["f"]\ndef f():\n    """What."""\nclass C:\n    """Where."""\n'
    assert list(docstrings(ast.parse(code))) == ["How.", "What.", "Where."]
    assert public_names(ast.parse(code)) == ["f"]
