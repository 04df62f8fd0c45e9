"""Errors. Every message says what came, what was expected and what to do.

NegtraceError                  every error that negtrace raises on purpose
├── UnknownNameError           a name that is not known (LookupError)
├── LanguageError              a text or lexicon (ValueError, as all below but the last two)
├── PairError                  a pair, or a file of pairs
│   └── AlignmentError         two statements that do not correspond token by token
├── EncoderError               a model
├── TraceError                 a trace
│   └── SiteError              a site that the model does not have
├── CTEError                   a result, or its file
├── BenchError                 a benchmark
├── DatasetError               a data set
├── FinetuneError              a fine-tuning
├── ExtraError                 a package that is not installed (ImportError)
└── OutputError                a file that cannot be written (OSError)
NegtraceWarning                something was left out, and the work goes on (UserWarning)
"""

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
    """A name that is not known: of a registry, a layer, a site, a role or an option."""


class LanguageError(NegtraceError, ValueError):
    """A text, lexicon, claim or vocabulary that cannot be used."""


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
    """A model that cannot be loaded, wrapped or patched."""


class TraceError(NegtraceError, ValueError):
    """A trace that cannot give a meaningful result."""


class SiteError(TraceError):
    """A site that a model does not have."""


class CTEError(NegtraceError, ValueError):
    """A result, or a file of one, that cannot be read, combined or reduced."""


class BenchError(NegtraceError, ValueError):
    """A benchmark whose data or settings cannot be used."""


class DatasetError(NegtraceError, ValueError):
    """Sources or settings that give no data set, or a folder that holds another data set."""


class FinetuneError(NegtraceError, ValueError):
    """Scores, data or settings that a fine-tuning cannot use, or a training that cannot go on."""


class ExtraError(NegtraceError, ImportError):
    """A package that an optional part of negtrace needs and that is not installed."""


class OutputError(NegtraceError, OSError):
    """A file or folder that cannot be written."""


class NegtraceWarning(UserWarning):
    """Something was left out, or a number may mislead; the work goes on."""


def require(name: str, *, extra: str) -> ModuleType:
    """Import a package, or a module of one, that `negtrace[extra]` installs.

    Raises:
        ExtraError: when it is not installed; the message says how to install it.
    """
    root = name.partition(".")[0]
    try:
        import_module(root)
    except ModuleNotFoundError as error:
        if error.name != root:  # the package is installed, and another that it needs is not
            raise
        raise ExtraError(f"{root} is not installed; pip install 'negtrace[{extra}]'") from error
    return import_module(name)
