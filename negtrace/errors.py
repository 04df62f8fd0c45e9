"""The error tree: every message says what came, what was expected and what to do."""

__all__ = [
    "CTEError",
    "EncoderError",
    "ExtraMissingError",
    "NegtraceError",
    "NegtraceWarning",
    "OutputError",
    "PairError",
    "TraceError",
    "UnknownNameError",
    "require",
]

import importlib
from types import ModuleType


class NegtraceError(Exception):
    """Base of every error that negtrace raises on purpose."""


class UnknownNameError(NegtraceError, LookupError):
    """A name that no registry, layer, site or role list knows."""


class PairError(NegtraceError, ValueError):
    """A pair, or a line of a pairs file, that cannot be used."""


class EncoderError(NegtraceError, ValueError):
    """A model that cannot be loaded, wrapped or trusted to be patched."""


class TraceError(NegtraceError, ValueError):
    """A sweep that cannot give a meaningful result."""


class CTEError(NegtraceError, ValueError):
    """A result, or a file of one, that cannot be read, combined or reduced."""


class OutputError(NegtraceError, OSError):
    """An output place that cannot be written."""


class ExtraMissingError(NegtraceError, ImportError):
    """An optional package that is needed now and is not installed."""


class NegtraceWarning(UserWarning):
    """Something was left out or may mislead; the work goes on."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import `module`, or say which pip extra of negtrace brings it.

    Raises:
        ExtraMissingError: when `module` cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ExtraMissingError(
            f"this needs the package {module!r}, which cannot be imported ({error}); "
            f"install it with: pip install 'negtrace[{extra}]'"
        ) from error
