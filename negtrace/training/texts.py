"""Texts without labels that a model is taught on: ready-made, from a file, or as given.

To add ready-made texts, register a function of a count and a seed in `TRAINING_TEXTS`.
"""

__all__ = ["TRAINING_TEXTS", "finding_texts", "training_texts"]

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from negtrace._registry import Registry
from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.readers.base import layout_of
from negtrace.datasets.study import Study
from negtrace.errors import FinetuneError
from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS
from negtrace.language.parse import sentence_spans
from negtrace.language.wording import realize
from negtrace.training.data import worded

TEXTS = 6000
"""Number of ready-made texts, and the most texts that are taken of a file."""

TRAINING_TEXTS: Registry[Callable[[int, int], list[str]]] = Registry("training texts")
"""Ready-made texts by name, as in `negtrace finetune --texts NAME`: a function of the number of
texts and a seed."""


@TRAINING_TEXTS.register("findings")
def finding_texts(
    count: int = TEXTS, seed: int = 0, findings: Sequence[str] = tuple(FINDINGS)
) -> list[str]:
    """Return texts that affirm and deny findings at random, in the frames of the training data.

    Each is about one to three findings, in a sentence each or in a list. Half of them deny
    something; the others say of absent findings what is normal.

    >>> finding_texts(2, seed=1, findings=("edema", "nodule"))
    ['There is a nodule.', 'There is pulmonary edema.']

    Args:
        count: number of texts.
        seed: seed of the draws.
        findings: findings that the texts are about; the others are never mentioned.
    """
    rng = Random(f"texts {seed}")  # noqa: S311
    texts = []
    for _ in range(count):
        about = rng.sample(list(findings), min(rng.choice((1, 2, 3)), len(findings)))
        claims = [Claim(finding=key, present=rng.random() < 1 / 2) for key in about]
        draw = rng.getrandbits(32)
        if rng.random() < 1 / 2:
            texts.append(realize(claims, wording="equivalent", seed=draw))
        else:
            texts.append(worded(claims, draw))
    return texts


def training_texts(texts: str | Path | Sequence[str], *, seed: int = 0) -> list[str]:
    """Return distinct texts by the name of ready-made texts, from a file of reports, or as given.

    Of a report, every sentence that asserts something is a text. Of more than `TEXTS` texts in a
    file, as many are drawn.

    Args:
        texts: a name in `TRAINING_TEXTS`; a file or folder of reports in any layout of
            `negtrace dataset`, or a text file; or texts.
        seed: seed of ready-made texts, and of the draw.

    Raises:
        FinetuneError: for a name that is neither a file nor ready-made texts, or no text.
        DatasetError: for a file that cannot be read.
    """
    if isinstance(texts, str) and texts in TRAINING_TEXTS:
        return list(dict.fromkeys(TRAINING_TEXTS[texts](TEXTS, seed)))
    if isinstance(texts, str | Path):
        if not Path(texts).exists():
            raise FinetuneError(
                f"no training texts {str(texts)!r}: it is neither a file nor the name of "
                f"ready-made texts ({', '.join(TRAINING_TEXTS)})"
            )
        found = list(dict.fromkeys(_sentences(Path(texts))))
        kept = found if len(found) <= TEXTS else Random(seed).sample(found, TEXTS)  # noqa: S311
    else:
        kept = list(dict.fromkeys(texts))
    if not any(map(str.strip, kept)):
        raise FinetuneError("there is no training text; give a file of reports, or texts")
    return [text for text in kept if text.strip()]


def _sentences(path: Path) -> Iterator[str]:
    """Yield the sentences of the reports in a file."""
    config = DatasetConfig()
    for study in layout_of(path, config).read(path, config):
        if isinstance(study, Study) and study.text:
            for start, end in sentence_spans(study.text):
                yield study.text[start:end].strip()
