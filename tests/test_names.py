"""One name for one thing, and docstrings that begin with the thing."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "negtrace"

QUESTIONS = ("What", "Which", "How", "Where", "Whether")
"""Words that no docstring begins with: it begins with the noun or the verb."""

# What is still to be renamed. Take entries out as they go; none may be added.
REPEATED: frozenset[str] = frozenset()
ASKING: dict[str, int] = {}


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
    repeated = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in repeated.items() if name not in REPEATED} == {}
    assert set(repeated) == REPEATED, "names that are defined once now: take them out of REPEATED"


def test_no_docstring_begins_with_a_question() -> None:
    asking = Counter(
        module.split(".")[0]
        for module, tree in modules()
        for text in docstrings(tree)
        if text.split(maxsplit=1)[:1] and text.split(maxsplit=1)[0] in QUESTIONS
    )
    assert dict(asking) == ASKING


def test_the_scan_sees_names_and_docstrings() -> None:
    code = '"""How."""\n__all__ = ["f"]\ndef f():\n    """What."""\nclass C:\n    """Where."""\n'
    assert list(docstrings(ast.parse(code))) == ["How.", "What.", "Where."]
    assert public_names(ast.parse(code)) == ["f"]
