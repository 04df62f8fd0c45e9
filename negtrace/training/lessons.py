"""Lessons: texts, and the embeddings that a model is to give them.

A text that denies something gets its target from the model as it was before the training, without
any label: what `negtrace.corrected` makes of it, or the embedding of a text that affirms the same.
A text that denies nothing keeps its embedding.
"""

__all__ = [
    "LessonBatch",
    "Lessons",
    "corrected_targets",
    "kept_texts",
    "lessons_of",
    "paired_targets",
]

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import Dataset

from negtrace.correction.base import Correction
from negtrace.correction.corrected import corrected
from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import evaluating
from negtrace.errors import FinetuneError, NegtraceWarning
from negtrace.language.cues import find_cues
from negtrace.language.denials import denials_of
from negtrace.pairs.anchor import Anchor
from negtrace.training.text_tables import Tables, TextTables, text_tables

IMAGES = 256
"""Most unlabelled images that scores are compared on."""


Targets = dict[str, Float[Tensor, " dim"]]
"""Embedding that each text is to have."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LessonBatch:
    """The texts of some lessons, and their targets."""

    tokens: Tables
    """Token ids of every distinct text, a table for each length."""
    order: Int[Tensor, " text"]
    """Row of each text in those tables, one table after another."""
    targets: Float[Tensor, "text dim"]
    """Unit embeddings that the texts are to have."""
    denying: Bool[Tensor, " text"]
    """True for texts that deny something; the others are to stay as they were."""
    images: Float[Tensor, "image dim"]
    """Unit embeddings of unlabelled images; none to compare embeddings instead of scores."""

    def to(self, device: torch.device | str) -> "LessonBatch":
        """Return the batch on a device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if name != "tokens"}
        return LessonBatch(tokens=tuple(table.to(device) for table in self.tokens), **moved)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons(Dataset[tuple[int, ...]]):
    """Texts and their targets. A row is a text that denies something, with one that does not."""

    texts: TextTables
    """Token ids of each distinct text, by its number."""
    targets: Float[Tensor, "text dim"]
    """Unit embeddings that the texts are to have."""
    denying: tuple[int, ...]
    """Texts that deny something."""
    kept: tuple[int, ...]
    """Texts whose embeddings are to stay as they were."""
    images: Float[Tensor, "image dim"]
    """Unit embeddings of unlabelled images."""

    def __len__(self) -> int:
        return max(len(self.denying), len(self.kept))

    def __getitem__(self, index: int) -> tuple[int, ...]:
        parts = (part for part in (self.denying, self.kept) if part)
        return tuple(part[index % len(part)] for part in parts)

    def inputs(self, rows: Sequence[tuple[int, ...]]) -> dict[str, LessonBatch]:
        """Return the arguments of `Objective.forward` for some rows."""
        return {"lessons": self.collate(rows)}

    def collate(self, rows: Sequence[tuple[int, ...]]) -> LessonBatch:
        """Return some rows as a batch."""
        numbers = list(dict.fromkeys(number for row in rows for number in row))
        tokens, order = self.texts.of(numbers)
        denying = set(self.denying)
        return LessonBatch(
            tokens=tokens,
            order=order,
            targets=self.targets[numbers],
            denying=torch.tensor([number in denying for number in numbers]),
            images=self.images,
        )


def corrected_targets(encoder: Encoder, texts: Sequence[str], correction: Correction) -> Targets:
    """Return the embedding that a correction gives each text that denies something.

    Args:
        encoder: the model before training.
        texts: texts without labels.
        correction: the correction.

    Raises:
        FinetuneError: when no text denies anything, so that there is nothing to teach.
        EncoderError: for a model that cannot be corrected.
    """
    teacher = corrected(encoder, correction)
    denying = [text for text in _that_fit(encoder, texts) if denials_of(text)]
    if not denying:
        raise FinetuneError(
            f"none of the {len(texts)} texts denies anything, so there is nothing to teach; give "
            "texts with denials, such as reports"
        )
    with torch.no_grad(), evaluating(encoder.model):
        return dict(zip(denying, teacher.embed_texts(denying).cpu(), strict=True))


def paired_targets(encoder: Encoder, pairs: Sequence[tuple[str, str]]) -> Targets:
    """Return the embedding of the second text of each pair as the target of the first one.

    "The door is not open." is to get the embedding of "The door is closed.".

    Args:
        encoder: the model before training.
        pairs: a text that denies something, and one that says the same without a denial.
    """
    fitting = set(_that_fit(encoder, [text for pair in pairs for text in pair]))
    pairs = [pair for pair in pairs if fitting.issuperset(pair)]
    with torch.no_grad(), evaluating(encoder.model):
        same = encoder.embed_texts([text for _, text in pairs]).cpu()
    return dict(zip((text for text, _ in pairs), same, strict=True))


def kept_texts(texts: Iterable[str]) -> list[str]:
    """Return the texts without a cue, and what the others say besides their denials.

    Of a text that denies something these are the text with its denials affirmed, and what is left
    of it without them.

    >>> kept_texts(["The heart is enlarged, without effusion.", "Edema."])
    ['The heart is enlarged, with effusion.', 'The heart is enlarged.', 'Edema.']
    """
    kept: list[str] = []
    for text in texts:
        found = denials_of(text)
        kept += [found.affirmed, found.omitted] if found else [text]
    return [text for text in dict.fromkeys(kept) if text and not find_cues(text)]


def _that_fit(encoder: Encoder, texts: Iterable[str]) -> list[str]:
    """Return the distinct texts that the model reads whole, with a warning about the others."""
    texts = list(dict.fromkeys(texts))
    lengths = map(len, encoder.tokenize(texts))
    fitting = [t for t, length in zip(texts, lengths, strict=True) if length <= encoder.max_tokens]
    if len(fitting) < len(texts):
        warnings.warn(
            f"{len(texts) - len(fitting)} of {len(texts)} training texts are longer than the "
            f"{encoder.max_tokens} tokens that {encoder.name} reads; they are left out",
            NegtraceWarning,
            stacklevel=2,
        )
    return fitting


def lessons_of(
    encoder: Encoder,
    targets: Targets,
    kept: Iterable[str],
    images: Sequence[Anchor] = (),
    *,
    seed: int = 0,
) -> Lessons:
    """Return lessons of texts with targets, and of texts that are to stay as they are.

    Args:
        encoder: the model before training.
        targets: the embedding that each text that denies something is to have.
        kept: texts that are to keep their embeddings.
        images: unlabelled images that scores are compared on, if there are any.
        seed: seed of the order of the texts, and of the draw of the images.
    """
    rng = Random(seed)  # noqa: S311
    denying = rng.sample(list(targets), len(targets))
    stays = _that_fit(encoder, kept)
    stays = rng.sample(stays, len(stays))
    drawn = rng.sample(list(images), min(IMAGES, len(images)))
    with torch.no_grad(), evaluating(encoder.model):
        as_they_were = list(encoder.embed_texts(stays).cpu()) if stays else []
        shown = list(encoder.embed_anchors(drawn).cpu()) if drawn else []
    rows = torch.stack([*(targets[text] for text in denying), *as_they_were])
    numbers = range(len(rows))
    return Lessons(
        texts=text_tables(encoder, [*denying, *stays]),
        targets=normalize(rows, dim=-1),
        denying=tuple(numbers[: len(denying)]),
        kept=tuple(numbers[len(denying) :]),
        images=normalize(torch.stack(shown), dim=-1) if shown else rows[:0],
    )
