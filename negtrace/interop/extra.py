"""A package of the `interop` extra, or an error that says how to get it."""

__all__ = ["package"]

from importlib import import_module
from types import ModuleType

from negtrace.errors import EncoderError


def package(name: str) -> ModuleType:
    """Import a package, or a module of one, that `negtrace[interop]` installs.

    Raises:
        EncoderError: when it is not installed; it names the pip extra.
    """
    root = name.split(".")[0]
    try:
        import_module(root)
    except ModuleNotFoundError as error:
        if error.name != root:  # it is there, and something it needs is not
            raise
        raise EncoderError(f"{root} is not installed; pip install 'negtrace[interop]'") from error
    return import_module(name)
