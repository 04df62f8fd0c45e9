"""Options of `negtrace.load`."""

__all__ = ["READ_OUTS", "Dtype", "LoadOptions", "TextReadOut"]

from dataclasses import MISSING, dataclass, fields
from typing import Literal, get_args

from negtrace._messages import one_of
from negtrace.encoders.huggingface.prompt import Prompt

Dtype = Literal["float32", "float64", "bfloat16", "float16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

TextReadOut = Literal["cls", "mean", "last", "pooler"]
READ_OUTS: tuple[TextReadOut, ...] = get_args(TextReadOut)


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Options for loading a model. `load` refuses an option that does not apply to the model.

    Raises:
        UnknownNameError: for an unknown dtype or read-out.
    """

    name: str | None = None
    """Name of the model in results; the folder's or the hub's name when not given."""
    read_out: str | None = None
    """Read-out of a text encoder: its first token (`cls`), the mean of its tokens (`mean`), its
    last token (`last`), or its pooler (`pooler`). A sentence-transformers model says its own, which
    this replaces; any other is read by the mean."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub."""
    device: str = "cpu"
    """Device to run on."""
    dtype: str = "float32"
    """Precision to run in: `float32`, `float64`, `bfloat16` or `float16`."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Only do so if you trust its source."""
    prompt: Prompt | None = None
    """Question that a language or vision-language model is asked, and its two answers."""
    self_check: bool = True
    """Check that the model can be traced, and refuse it if it cannot."""

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, DTYPES)
        if self.read_out is not None:
            one_of("read-out", self.read_out, READ_OUTS)

    def changed(self) -> list[str]:
        """Return the names of the options that differ from their defaults.

        >>> LoadOptions(device="cuda", dtype="float32").changed()
        ['device']
        """
        return [
            option.name
            for option in fields(self)
            if option.default is MISSING or getattr(self, option.name) != option.default
        ]
