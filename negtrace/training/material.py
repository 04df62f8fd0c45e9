"""Material of a training: labelled claim sets, texts without labels, pairs of texts, images."""

__all__ = ["Material", "Rows", "material_for", "rows_of"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch.utils.data import Dataset

from negtrace._files import canonical, sha256
from negtrace._messages import listed
from negtrace.correction.base import correction_named
from negtrace.datasets.claim_sets import ClaimSet
from negtrace.datasets.complements import read_complements
from negtrace.encoders.base import Encoder
from negtrace.errors import FinetuneError
from negtrace.language.complements import Complement, complements
from negtrace.pairs.anchor import Anchor
from negtrace.training.batches import examples_of
from negtrace.training.config import FinetuneConfig
from negtrace.training.data import TRAINING_DATA, training_sets, usable
from negtrace.training.lessons import (
    Targets,
    corrected_targets,
    kept_texts,
    lessons_of,
    paired_targets,
)
from negtrace.training.texts import training_texts

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


@dataclass(frozen=True, kw_only=True)
class Material:
    """Everything that a model is trained on."""

    sets: Sequence[ClaimSet] = ()
    """Usable claim sets, for the objective `claims`."""
    texts: Sequence[str] = ()
    """Texts without labels, for a correction that is taught; what denies nothing is kept."""
    complements: Sequence[Complement] = ()
    """Denials, and texts that say the same without one, for the objective `complements`."""
    images: Sequence[Anchor] = ()
    """Unlabelled images that scores are compared on."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers of the parts and digests of their content, as JSON values."""
        parts: dict[str, list[Any]] = {
            "sets": [[one.anchor.digest, one.caption, one.right, *one.wrong] for one in self.sets],
            "texts": list(self.texts),
            "complements": [[one.denial, one.complement] for one in self.complements],
            "images": [image.digest for image in self.images],
        }
        return {
            name: {"count": len(part), "digest": _digest(part)}
            for name, part in parts.items()
            if part
        }


def _digest(content: Sequence[Any]) -> str:
    return sha256(canonical(content))


@runtime_checkable
class Rows(Protocol):
    """A dataset of the Trainer, which makes the arguments of an `Objective` from some rows."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, index: int) -> Any:
        """Return a row."""

    def inputs(self, rows: Sequence[Any]) -> dict[str, Any]:
        """Return the arguments of `Objective.forward` for some rows."""


@dataclass(frozen=True, eq=False)
class Beside(Dataset[tuple[Any, Any]]):
    """Two datasets side by side; the second one is repeated, or cut, to the length of the first."""

    first: Rows
    second: Rows

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.first[index], self.second[index % len(self.second)]

    def inputs(self, rows: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
        """Return the arguments of `Objective.forward` for some rows."""
        first, second = zip(*rows, strict=True)
        return {**self.first.inputs(first), **self.second.inputs(second)}


def rows_of(encoder: Encoder, material: Material, config: FinetuneConfig) -> Rows:
    """Return the rows of a training, with targets and anchors embedded by the model as it is.

    Raises:
        FinetuneError: when there is nothing to teach.
        EncoderError: for a model that cannot be corrected, where a correction is to be taught.
    """
    targets: Targets = {}
    if config.correction:
        correction = correction_named(config.correction, config.strength)
        targets |= corrected_targets(encoder, material.texts, correction)
    if "complements" in config.objectives:
        pairs = [(one.denial, one.complement) for one in material.complements]
        targets |= paired_targets(encoder, pairs)
    lessons = None
    if targets:
        same = (text for one in material.complements for text in (one.complement, one.affirmed))
        kept = kept_texts([*material.texts, *same])
        lessons = lessons_of(encoder, targets, kept, material.images, seed=config.seed)
        if "claims" not in config.objectives:
            return lessons
    examples = examples_of(encoder, material.sets, joint=config.joint, keep=config.keep > 0)
    return Beside(examples, lessons) if lessons else examples


def material_for(
    encoder: Encoder,
    config: FinetuneConfig,
    data: str | Path | Sequence[ClaimSet] | None,
    texts: str | Path | Sequence[str] | None,
    pairs: str | Path | Sequence[Complement] | None,
    images: str | Path | Sequence[Anchor],
) -> Material:
    """Return what the objective needs, read from files or made, and refuse what it cannot use.

    Raises:
        FinetuneError: when something is missing, cannot be used, or would not be used.
        DatasetError: for a file that cannot be read.
    """
    taught = [name for name in config.objectives if name != "claims"]
    if not taught and (texts is not None or images):
        raise FinetuneError(
            "texts and images are for corrections that are taught, but the objective is 'claims'; "
            "leave them out, or add one: objective='claims+reflection'"
        )
    if pairs is not None and "complements" not in taught:
        raise FinetuneError(
            f"complements are for the objective 'complements', not {config.objective!r}; leave "
            "them out, or choose it"
        )
    found = _images(images)
    if found and not encoder.reads_images:
        raise FinetuneError(f"{encoder.name} sees no images; leave the images out")
    return Material(
        sets=_sets(encoder, config, data),
        texts=_texts(config, texts),
        complements=_complements(pairs) if "complements" in taught else (),
        images=found,
    )


def _sets(
    encoder: Encoder, config: FinetuneConfig, data: str | Path | Sequence[ClaimSet] | None
) -> Sequence[ClaimSet]:
    if "claims" in config.objectives:
        if data is None:
            raise FinetuneError(
                f"the objective {config.objective!r} needs claim sets; give them as `data`, or the "
                f"name of ready-made ones ({', '.join(TRAINING_DATA)})"
            )
        return usable(training_sets(data, seed=config.seed), encoder, balance=config.balance)
    if data is not None:
        raise FinetuneError(
            f"the objective {config.objective!r} trains on no claim sets; leave `data` out, or add "
            f"them: objective='claims+{config.objective}'"
        )
    return ()


def _texts(config: FinetuneConfig, texts: str | Path | Sequence[str] | None) -> Sequence[str]:
    """Return the texts; a correction that is taught needs some, so there are ready-made ones."""
    if texts is None:
        return training_texts("findings", seed=config.seed) if config.correction else ()
    return training_texts(texts, seed=config.seed)


def _complements(pairs: str | Path | Sequence[Complement] | None) -> Sequence[Complement]:
    if pairs is None:
        return complements()
    return read_complements(pairs) if isinstance(pairs, str | Path) else pairs


def _images(images: str | Path | Sequence[Anchor]) -> Sequence[Anchor]:
    """Return images, or those of a folder by name."""
    if not isinstance(images, str | Path):
        return images
    folder = Path(images)
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    if not found:
        raise FinetuneError(
            f"{folder} holds no image ({listed(IMAGE_ENDINGS)}); name another folder"
        )
    return [Anchor(image=path) for path in found]
