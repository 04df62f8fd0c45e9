"""Which model a command runs on, and commands about models."""

__all__ = ["Check", "Loading", "Model", "Models"]

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from negtrace.cli.printing import say

if TYPE_CHECKING:
    from negtrace.encoders.base import Encoder
    from negtrace.encoders.huggingface.prompt import Prompt


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How models are loaded."""

    read_out: Literal["cls", "mean", "pooler"] | None = None
    """Where a text encoder's embedding is read; a sentence-transformers folder says its own."""
    template: str | None = None
    """What a language model is asked, with {anchor} and {statement}."""
    answers: tuple[str, str] | None = None
    """Its answers where the statement holds and where it does not: " yes" " no"."""
    chat: bool = False
    """Ask in the language model's own chat template."""
    revision: str | None = None
    """Revision of a model on the hub."""
    device: str = "cpu"
    """Where to run."""
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    """Precision to run in."""
    trust_remote_code: bool = False
    """Run code that comes with the model."""

    def loaded(self, model: str, name: str | None = None, *, self_check: bool = True) -> "Encoder":
        """Load a model as an encoder, called by its own name if none is given."""
        from negtrace.encoders.load import load

        return load(
            model,
            name=name,
            read_out=self.read_out,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            trust_remote_code=self.trust_remote_code,
            self_check=self_check,
            prompt=self._prompt(),
        )

    def _prompt(self) -> "Prompt | None":
        from negtrace.encoders.huggingface.prompt import Prompt

        if self.template is None and self.answers is None and not self.chat:
            return None
        return Prompt(
            template=self.template or Prompt.template,
            answers=self.answers or Prompt.answers,
            chat=self.chat,
        )


@dataclass(frozen=True, kw_only=True)
class Model(Loading):
    """What is loaded, and how."""

    model: Positional[str]
    """`phantom`, `toy`, a folder, a name on the hub, or `open_clip:ARCHITECTURE/WEIGHTS`."""
    name: str | None = None
    """What to call the model in results; the folder's or the hub's name when not given."""

    def load(self, *, self_check: bool = True) -> "Encoder":
        """Load it as an encoder."""
        return self.loaded(self.model, self.name, self_check=self_check)


@dataclass(frozen=True, kw_only=True)
class Check(Model):
    """Check that a model can be traced: blocks, states, and that it comes back untouched."""

    def run(self) -> None:
        """Print each item; fail when one does not hold."""
        from negtrace.encoders.check import check

        found = check(self.load(self_check=False))
        say(found)
        found.require()


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the models, corruptions and layer scores that go by a name."""

    def run(self) -> None:
        """Print them."""
        from negtrace.encoders.load import BUILT_IN
        from negtrace.results.layer_scores import LAYER_SCORES
        from negtrace.tracing.corruptions.base import CORRUPTIONS

        for name in BUILT_IN:
            say(f"{name:10} {BUILT_IN[name].__doc__}")
        say(
            "FOLDER     a Hugging Face model (dual, text, language, vision-language), open_clip's",
            "HUB/NAME   the same, from the hub; open_clip:ARCHITECTURE/WEIGHTS",
            f"corruptions: {', '.join(CORRUPTIONS)}",
            f"layer scores: {', '.join(LAYER_SCORES)}",
        )
