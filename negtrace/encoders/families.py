"""Families of encoders: kinds of models that `load` recognises by a name or by their files.

`load` asks each family whether it recognises the model and takes the first that does: first the
families that you registered, then the built-in ones in the order of `BUILT_IN`.
"""

__all__ = ["FAMILIES", "Family", "LoadRequest", "family_of"]

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from negtrace._files import exists
from negtrace._messages import one_of
from negtrace._registry import Registry
from negtrace.encoders.base import Encoder
from negtrace.encoders.options import LoadOptions
from negtrace.errors import EncoderError

if TYPE_CHECKING:
    from negtrace.encoders.huggingface.files import ModelFiles

FOR_EVERY_FAMILY = ("name", "device", "dtype", "self_check")
"""Options that apply to every family."""


@dataclass(frozen=True, kw_only=True)
class LoadRequest:
    """A model that `load` is asked for: a name or a folder, with options."""

    name_or_path: str
    options: LoadOptions

    @property
    def folder(self) -> Path | None:
        """The local folder that was named; None for a name."""
        path = Path(self.name_or_path)
        return path if exists(path) else None

    def holds(self, file: str) -> bool:
        """Return whether a folder was named that holds this file."""
        return self.folder is not None and (self.folder / file).is_file()

    @property
    def name(self) -> str:
        """Name of the model in results: the option, else the folder's last part, else the name.

        The rest of a folder's path is left out: it is private.
        """
        default = self.folder.resolve().name if self.folder else self.name_or_path
        return self.options.name or default

    @property
    def dtype(self) -> torch.dtype:
        """Precision to load the model in."""
        dtype: torch.dtype = getattr(torch, self.options.dtype)
        return dtype

    @cached_property
    def files(self) -> "ModelFiles":
        """The model's files as transformers reads them, each when it is first asked for."""
        # Imported here, so that other families need no transformers.
        from negtrace.encoders.huggingface.files import ModelFiles

        return ModelFiles(
            source=self.name_or_path,
            revision=self.options.revision,
            trust_remote_code=self.options.trust_remote_code,
        )


class Family(ABC):
    """A kind of model that `load` recognises; the docstring is its line in `negtrace models`.

    A family has no state: `load` makes an instance of it with no arguments.
    """

    accepts: ClassVar[str]
    """Argument of `load` in words for this family, such as "a folder with tower.json"."""
    options: ClassVar[tuple[str, ...]] = ()
    """Options of `load` that apply, besides name, device, dtype and self_check."""

    def __init_subclass__(cls) -> None:
        """Refuse options that `load` does not have."""
        super().__init_subclass__()
        for option in cls.options:
            one_of("option of load", option, [field.name for field in fields(LoadOptions)])

    @abstractmethod
    def matches(self, request: LoadRequest) -> bool:
        """Return whether the model is of this family.

        Raises:
            EncoderError: when its files cannot be read.
        """

    @abstractmethod
    def load(self, request: LoadRequest) -> Encoder:
        """Return the model as an encoder; `load` then moves it to its device and checks it.

        Raises:
            EncoderError: when its files cannot be read or used.
        """

    def objection(self, option: str, request: LoadRequest) -> str | None:
        """Return why an option does not apply to this model; None where it does apply."""
        applying = (*FOR_EVERY_FAMILY, *self.options)
        return None if option in applying else f"the options that apply are {', '.join(applying)}"


BUILT_IN = {
    "toy": "negtrace.encoders.toy",
    "phantom": "negtrace.encoders.huggingface.families",
    "LoRA adapter": "negtrace.encoders.lora",
    "open_clip": "negtrace.encoders.open_clip",
    "dual encoder": "negtrace.encoders.huggingface.families",
    "language model": "negtrace.encoders.huggingface.families",
    "vision-language model": "negtrace.encoders.huggingface.families",
    "text encoder": "negtrace.encoders.huggingface.families",
}
"""The built-in families in the order in which `load` asks them, each with its module."""

FAMILIES: Registry[type[Family]] = Registry("encoder family", BUILT_IN)
"""Families of encoders by name."""


def family_of(request: LoadRequest) -> tuple[str, Family]:
    """Return the name of the family that a model belongs to, and the family.

    Raises:
        EncoderError: when no family recognises the model; it says what can be loaded.
    """
    try:
        for name in _in_order():
            family = FAMILIES[name]()
            if family.matches(request):
                return name, family
    except EncoderError as error:
        raise EncoderError(f"{error} -- load takes {_accepted()}") from error
    raise EncoderError(f"{request.name}: no encoder family recognises it; load takes {_accepted()}")


def _in_order() -> list[str]:
    return [*(name for name in FAMILIES if name not in BUILT_IN), *BUILT_IN]


def _accepted() -> str:
    return "; ".join(dict.fromkeys(FAMILIES[name].accepts for name in _in_order()))
