"""The error tree: every message says what came, what was expected and what to do."""

__all__ = [
    "AlignmentError",
    "BenchError",
    "CTEError",
    "DatasetError",
    "EncoderError",
    "ExtraError",
    "FinetuneError",
    "LanguageError",
    "NegtraceError",
    "NegtraceWarning",
    "OutputError",
    "PairError",
    "SiteError",
    "TraceError",
    "UnknownNameError",
    "require",
]

from importlib import import_module
from types import ModuleType


class NegtraceError(Exception):
    """Base of every error that negtrace raises on purpose."""


class UnknownNameError(NegtraceError, LookupError):
    """A name that no registry, layer, site or role list knows."""


class LanguageError(NegtraceError, ValueError):
    """A text, lexicon, claim or vocabulary that cannot be read or worded."""


class PairError(NegtraceError, ValueError):
    """A pair, or a line of a pairs file, that cannot be used."""


class AlignmentError(PairError):
    """A pair whose two statements cannot be traced token by token.

    Neither the code nor the reason holds any text of the statements.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        """Short name of the reason, by which dropped pairs are counted."""


class EncoderError(NegtraceError, ValueError):
    """A model that cannot be loaded, wrapped or trusted to be patched."""


class TraceError(NegtraceError, ValueError):
    """A sweep that cannot give a meaningful result."""


class SiteError(TraceError):
    """A site that a model does not offer."""


class CTEError(NegtraceError, ValueError):
    """A result, or a file of one, that cannot be read, combined or reduced."""


class BenchError(NegtraceError, ValueError):
    """A benchmark whose data or settings cannot be used."""


class DatasetError(NegtraceError, ValueError):
    """Sources or settings that no data set can be built from, or a folder that holds another."""


class FinetuneError(NegtraceError, ValueError):
    """Scores, data or settings that a fine-tuning cannot use, or one that cannot go on."""


class ExtraError(NegtraceError, ImportError):
    """A package that an optional part needs and that is not installed."""


class OutputError(NegtraceError, OSError):
    """An output place that cannot be written."""


class NegtraceWarning(UserWarning):
    """Something was left out or may mislead; the work goes on."""


def require(name: str, *, extra: str) -> ModuleType:
    """Import a package, or a module of one, that `negtrace[extra]` installs.

    Raises:
        ExtraError: when it is not installed; it says how to get it.
    """
    root = name.partition(".")[0]
    try:
        import_module(root)
    except ModuleNotFoundError as error:
        if error.name != root:  # it is there, and something it needs is not
            raise
        raise ExtraError(f"{root} is not installed; pip install 'negtrace[{extra}]'") from error
    return import_module(name)
