"""Command that shows what a correction makes of statements."""

__all__ = ["CorrectText"]

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from negtrace.cli.models import CORRECTION, Model
from negtrace.cli.printing import say

if TYPE_CHECKING:
    from negtrace.encoders.base import Encoder
    from negtrace.pairs.anchor import Anchor


@dataclass(frozen=True, kw_only=True)
class CorrectText(Model):
    """Show what a correction makes of statements: what they deny, and their scores before and
    after."""

    texts: Positional[tuple[str, ...]]
    """Statements, such as "The heart is enlarged, without effusion."."""
    against: tuple[str, ...] = ()
    """Texts to score the statements against; what each statement would say if it affirmed what it
    denies, when not given."""
    images: tuple[Path, ...] = ()
    """Images to score the statements against."""
    method: Annotated[str, CORRECTION] = "reflection"
    """Correction."""
    strength: float | None = None
    """Strength of the correction; its own when not given."""

    def run(self) -> None:
        """Print what each statement denies, and its score against each anchor."""
        from negtrace.correction.corrected import corrected
        from negtrace.errors import EncoderError
        from negtrace.language.denials import denials_of

        if not self.texts:
            raise EncoderError("no statement; give one or more in quotation marks")
        before = self.load()
        after = corrected(before, self.method, strength=self.strength)
        for text in self.texts:
            denials = denials_of(text)
            say(text)
            if denials is None:
                say("  denies nothing, and is left as it is")
            else:
                say(
                    f"  denies: {'; '.join(denials.denied)}",
                    f"  affirmed: {denials.affirmed}",
                    f"  omitted: {denials.omitted or '(nothing else is said)'}",
                )
            for name, anchor in self._anchors(denials.affirmed if denials else text):
                scores = (_score(encoder, text, anchor) for encoder in (before, after))
                say(f"  {before.unit} with {name}: " + " -> ".join(f"{s:.3f}" for s in scores))

    def _anchors(self, affirmed: str) -> "list[tuple[str, Anchor]]":
        from negtrace.pairs.anchor import Anchor

        texts = self.against or (() if self.images else (affirmed,))
        return [
            *((f'"{text}"', Anchor(text=text)) for text in texts),
            *((path.name, Anchor(image=path)) for path in self.images),
        ]


def _score(encoder: "Encoder", text: str, anchor: "Anchor") -> float:
    """Return the score of a statement against an anchor."""
    [score] = encoder.score(encoder.embed_texts([text]), encoder.embed_anchors([anchor]))
    return float(score.detach())
