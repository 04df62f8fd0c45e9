"""Public names that are imported when first used: opening a package loads nothing heavy."""

__all__ = ["lazily"]

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any


def lazily(
    package: str, homes: Mapping[str, str], rooms: Collection[str] = ()
) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package.

    Args:
        package: its name.
        homes: the module that each public name is defined in.
        rooms: submodules that open when they are first named.
    """

    def named(name: str) -> Any:
        if name in rooms:
            return importlib.import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}; see {package}.__all__"
            )
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return named
