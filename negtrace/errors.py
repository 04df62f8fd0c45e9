"""The error tree: every message says what came, what was expected and what to do."""

__all__ = [
    "BenchError",
    "CTEError",
    "DatasetError",
    "EncoderError",
    "LanguageError",
    "NegtraceError",
    "NegtraceWarning",
    "OutputError",
    "PairError",
    "SiteError",
    "TraceError",
    "UnknownNameError",
]


class NegtraceError(Exception):
    """Base of every error that negtrace raises on purpose."""


class UnknownNameError(NegtraceError, LookupError):
    """A name that no registry, layer, site or role list knows."""


class LanguageError(NegtraceError, ValueError):
    """A text, lexicon, claim or vocabulary that cannot be read or worded."""


class PairError(NegtraceError, ValueError):
    """A pair, or a line of a pairs file, that cannot be used."""


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


class OutputError(NegtraceError, OSError):
    """An output place that cannot be written."""


class NegtraceWarning(UserWarning):
    """Something was left out or may mislead; the work goes on."""
