"""Options that say which model a command runs on, and the commands about models."""

__all__ = [
    "CORRECTION",
    "CheckModel",
    "CorrectedModel",
    "Correcting",
    "Loading",
    "Model",
    "Models",
]

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated

from typing_extensions import override
from tyro.conf import Positional, Suppress

from negtrace.cli.names import named
from negtrace.cli.printing import say
from negtrace.encoders.huggingface.prompt import Prompt
from negtrace.encoders.options import Dtype, LoadOptions, TextReadOut

if TYPE_CHECKING:
    from negtrace.encoders.base import Encoder

CORRECTION = named("negtrace.correction:CORRECTIONS")
"""Help of an option that names a correction."""


@dataclass(frozen=True, kw_only=True)
class Loading(LoadOptions):
    """Options for loading models."""

    name: Annotated[str | None, Suppress] = None
    prompt: Annotated[Prompt | None, Suppress] = None
    self_check: Annotated[bool, Suppress] = True
    read_out: TextReadOut | None = None
    """Read-out of a text encoder; a sentence-transformers model says its own, any other is read by
    the mean."""
    dtype: Dtype = "float32"
    """Precision to run in."""
    template: str | None = None
    """Question for a language model, with {anchor} and {statement}."""
    answers: tuple[str, str] | None = None
    """Its answers where the statement holds and where it does not: " yes" " no"."""
    chat: bool = False
    """Ask in the chat template of the language model."""

    def options(self, **settings: object) -> LoadOptions:
        """Return the options of `load`, some of them replaced."""
        values = {field.name: getattr(self, field.name) for field in fields(LoadOptions)}
        return LoadOptions(**{**values, "prompt": self._prompt(), **settings})

    def _prompt(self) -> Prompt | None:
        if self.template is None and self.answers is None and not self.chat:
            return None
        return Prompt(
            template=self.template or Prompt.template,
            answers=self.answers or Prompt.answers,
            chat=self.chat,
        )

    def load_all(self, models: Sequence[str], names: Sequence[str]) -> "list[Encoder]":
        """Load several models, each with the options that apply to it.

        Args:
            models: what `load` is given for each.
            names: names of the models in results, in order; their own when empty.

        Raises:
            EncoderError: for an option that applies to none of the models.
        """
        from negtrace.encoders.load import load, options_for

        options = self.options()
        applying = [options_for(model, options) for model in models]
        if set(options.changed()) - {name for each in applying for name in each.changed()}:
            return [load(model, options) for model in models]  # which refuses the option
        return [
            load(model, replace(each, name=name))
            for model, each, name in zip(
                models, applying, names or (None,) * len(models), strict=True
            )
        ]


@dataclass(frozen=True, kw_only=True)
class Model(Loading):
    """A model and the options for loading it."""

    model: Positional[str]
    """`phantom`, `toy`, a folder, a name on the hub, or `open_clip:ARCHITECTURE/WEIGHTS`."""
    name: str | None = None
    """Name of the model in results; the folder's or the hub's name when not given."""

    def load(self, *, self_check: bool = True) -> "Encoder":
        """Load the model as an encoder."""
        from negtrace.encoders.load import load

        return load(self.model, self.options(self_check=self_check))


@dataclass(frozen=True, kw_only=True)
class Correcting:
    """Options for correcting a model that is loaded."""

    correct: Annotated[str | None, CORRECTION] = None
    """Correct the embeddings of statements that deny something; not when not given."""
    strength: float | None = None
    """Strength of the correction; its own when not given."""

    def corrected(self, encoder: "Encoder") -> "Encoder":
        """Return the encoder with the correction, if there is one.

        Raises:
            EncoderError: for a strength without a correction, or a model that has no embeddings.
        """
        from negtrace.correction.corrected import corrected
        from negtrace.errors import EncoderError

        if self.correct is None:
            if self.strength is not None:
                raise EncoderError("strength is that of a correction; name one with --correct")
            return encoder
        return corrected(encoder, self.correct, strength=self.strength)


@dataclass(frozen=True, kw_only=True)
class CorrectedModel(Correcting, Model):
    """A model, the options for loading it, and its correction."""

    @override
    def load(self, *, self_check: bool = True) -> "Encoder":
        return self.corrected(super().load(self_check=self_check))


@dataclass(frozen=True, kw_only=True)
class CheckModel(CorrectedModel):
    """Check that a model can be traced: its structure, and that patched scores are right."""

    def run(self) -> None:
        """Print each item; fail when one does not hold."""
        from negtrace.tracing.check import check

        report = check(self.load(self_check=False))
        say(report)
        report.require()


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the models that can be loaded, the corruptions and the layer scores."""

    def run(self) -> None:
        """Print them, from the registries."""
        from negtrace.encoders.families import FAMILIES, Family
        from negtrace.results.layer_scores import LAYER_SCORES
        from negtrace.tracing.corruptions.base import CORRUPTIONS

        families: dict[str, dict[str, type[Family]]] = {}
        for name in sorted(FAMILIES, key=str.casefold):
            families.setdefault(FAMILIES[name].accepts, {})[name] = FAMILIES[name]
        for accepts, named_families in families.items():
            say(f"{accepts}:")
            for name, family in named_families.items():
                say(f"  {name:22} {(family.__doc__ or '').splitlines()[0]}")
        say(
            f"corruptions: {', '.join(CORRUPTIONS)}",
            f"layer scores: {', '.join(LAYER_SCORES)}",
        )
