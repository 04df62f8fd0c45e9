"""Ways to mend negation in one table: corrections at inference, trainings, interpolations.

    python benchmarks/mend.py --out benchmarks/results/mend

A model is trained on one half of the findings and asked about both, then the halves are swapped.
Every run has another seed for the training and for its questions, so that intervals cover both. The
rows say what a training has seen of the held-out findings: `text` means that their words are in
texts without labels, `none` that they are in no text at all. Claims of the trained findings are
labelled in the rows `shipped` and `both`.

`@` is the share of the training in the weights after an interpolation. Strength of the correction,
share, steps and rates were chosen on the questions of seed 0, which are not reported.

`weightings` of the phantom come from one training each: the share of every block is 0.4 times its
multiplier, at most 1. So no optimizer can undo the scores.

Each run is a line of `runs.jsonl`; the same command again goes on after an interruption.
`mend.json` holds means over runs with 95 % intervals of Student's t, and their differences from the
model before, paired by run. `mend.md` is the same as a table.
"""

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from record import machine, record
from selective import head, interval, line, marked_mean, read_runs, traced
from subjects import Figures, MiniLM, Phantom, Subject, twin
from torch import Tensor
from torch.nn.functional import cosine_similarity
from typing_extensions import override

import negtrace
from negtrace.correction import Correct, Correction, Projection, Reflection
from negtrace.encoders.base import Encoder
from negtrace.errors import NegtraceWarning
from negtrace.experiments import selective_finetune
from negtrace.language.complements import Complement, complements
from negtrace.language.denials import Denials
from negtrace.language.findings import FINDINGS
from negtrace.language.parse import parse_claims
from negtrace.phantom.patients import TRAIN_SEEDS, patient_with
from negtrace.phantom.reports import report
from negtrace.training import MultiplierOptions, finding_texts, interpolate, multipliers

SHARE = 0.4
"""Share of a training in the weights after an interpolation."""

FULL = {"adapter": "full", "steps": 400, "batch": 16, "rate": 1e-3}
BOTH = {**FULL, "steps": 200, "balance": 0.2}
LORA = {"steps": 50, "batch": 16, "rate": 1.5e-3}

PHANTOM: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "shipped": ("none", {**Phantom.settings, "objective": "claims"}),
    "reflection": ("text", {**FULL, "objective": "reflection"}),
    "both": ("text", {**BOTH, "objective": "both"}),
    "reflection, strict": ("none", {**FULL, "objective": "reflection"}),
    "both, strict": ("none", {**BOTH, "objective": "both"}),
}
"""What is seen of the held-out findings, and the settings, by the name of the row."""

MINILM: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "shipped": ("none", {**MiniLM.settings, "objective": "claims"}),
    "complements": ("none", {**LORA, "objective": "complements"}),
    "claims and complements": (
        "none",
        {**LORA, "objective": "claims+complements", "keep": MiniLM.settings["keep"]},
    ),
}

TRAININGS = {Phantom.name: PHANTOM, MiniLM.name: MINILM}
KINDS = {Phantom.name: Phantom, MiniLM.name: MiniLM}

WEIGHTINGS = (
    *("scored", "permuted", "inverted", "top", "front"),
    *("relative change", "three at random"),
)
"""Ways to weigh the blocks after a training: five by layer scores, one by how far each block moved
(after Auto-RGN, arXiv 2210.11466), one that draws (after LISA, 2403.17919). The uniform one is
`both @0.4`."""

SHOWN = {
    "affirmative": "affirmative",
    "negated": "negated",
    "new_affirmative": "held out, affirmative",
    "new_negated": "held out, negated",
    "complements": "unseen complements",
    "general": "NegBench",
    "kept": "kept",
    "collapse": "cosine of denials",
}
"""Measures in the table."""

Run = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Steering(Correction):
    """One direction for every denial: from findings to what excludes them, by the frozen model."""

    name = "steering"

    strength: float = 0.4
    pairs: tuple[tuple[str, str], ...] = ()
    """A text that affirms a finding, and one that says what excludes it."""

    @override
    def texts(self, denials: Denials) -> tuple[str, ...]:
        return tuple(text for pair in self.pairs for text in pair)

    @override
    def correct(
        self,
        statement: Float[Tensor, " dim"],
        texts: Float[Tensor, "text dim"],
        neutral: Float[Tensor, " dim"],
    ) -> Correct:
        direction = (texts[1::2] - texts[::2]).mean(dim=0)
        offset = self.strength * statement.norm() * direction
        return lambda embeddings: embeddings + offset.to(embeddings.dtype)


def steering(about: Subject) -> Steering:
    """Return the direction by the trained findings."""
    known = [FINDINGS[key] for key in about.trained]
    return Steering(pairs=tuple((finding.abnormal, finding.normal) for finding in known))


def held_out_complements() -> set[str]:
    """Return the groups of complements that no training sees, a third of them."""
    groups = sorted({one.group for one in complements()})
    Random("complements").shuffle(groups)  # noqa: S311
    return set(groups[::3])


def subject(model: str, seed: int, *, swapped: bool) -> Subject:
    """Return a model with its questions; all-MiniLM-L6-v2 is asked about complements, too."""
    about = KINDS[model](Path("../shared/data"), 1 + seed, swapped=swapped)
    if isinstance(about, MiniLM):
        unseen = held_out_complements()
        asked = [one for one in complements() if one.group in unseen]
        about.items["complements"] = [
            twin(f"{k}", one.complement, [one.denial, one.affirmed], 0)
            for k, one in enumerate(asked)
        ]
    return about


def texts_for(about: Subject, seen: str, seed: int) -> list[str]:
    """Return the texts of a training, without labels."""
    if isinstance(about, MiniLM):
        with_words = (about.data / "roco" / "captions_ccby_part.tsv").read_text("utf-8")
        captions = [row.split("\t")[-1] for row in with_words.splitlines()[1:]]
        return [c for k, c in enumerate(captions) if k % 4 and len(c.split()) < 18]
    known = [f for f in FINDINGS if seen == "text" or f not in about.held_out]
    rng = Random(f"reports {seed}")  # noqa: S311
    patients = (patient_with({}, TRAIN_SEEDS, rng) for _ in range(3000))
    allowed = (one for one in patients if {c.finding for c in one.present} <= {*known})
    reports = [report(one, seed=k, rate=0.0) for k, one in enumerate(allowed)]
    texts = [*finding_texts(4000, seed, known), *reports[:1000]]
    return texts if seen == "text" else [t for t in texts if not names_any(t, about.held_out)]


def names_any(text: str, findings: Sequence[str]) -> bool:
    """Tell whether a text speaks of any of these findings, by name or by what is normal."""
    about = [FINDINGS[key] for key in findings]
    named = (name.words for finding in about for name in finding.names)
    normal = (words for finding in about for words in (finding.normal_phrase, *finding.normals))
    spoken_of = any(words.lower() in text.lower() for words in (*named, *normal))
    return spoken_of or any(claim.finding in findings for claim in parse_claims(text))


def collapse(encoder: Encoder, findings: Sequence[str]) -> float:
    """Mean cosine between the denials of different findings."""
    with torch.no_grad():
        rows = encoder.embed_texts([f"There is no {FINDINGS[key].term}." for key in findings])
    pairs = list(combinations(range(len(rows)), 2))
    first, second = (rows[[pair[k] for pair in pairs]] for k in (0, 1))
    return float(cosine_similarity(first, second).mean())


def measured(about: Subject, encoder: Encoder) -> Figures:
    """Figures of a model, with the cosine between denials."""
    return {**about.measured(encoder), "collapse": collapse(encoder, about.findings)}


def trained(about: Subject, row: str, seed: int) -> Encoder:
    """Train a model as a row says."""
    seen, settings = TRAININGS[about.name][row]
    encoder = about.load()
    labelled = "claims" in settings["objective"] or settings["objective"] == "both"
    alone = settings["objective"] == "claims"
    unseen = held_out_complements()
    pairs: list[Complement] | None = None
    if "complements" in settings["objective"]:
        pairs = [one for one in complements() if one.group not in unseen]
    selective_finetune(
        encoder,
        about.sets(seed) if labelled else None,
        dict.fromkeys(encoder.block_names, 1.0),
        texts=None if alone else texts_for(about, seen, seed),
        complements=pairs,
        seed=seed,
        progress=False,
        **settings,
    )
    return encoder


def runs_of(about: Subject, seed: int, done: set[str]) -> Iterator[tuple[str, str, Figures]]:
    """Yield the row, what was seen of the held-out findings, and the figures of each model."""
    before = about.load()
    if "before" not in done:
        yield "before", "", measured(about, before)
    for method in (steering(about), Projection(), Reflection()):
        if f"{method.name} at inference" not in done:
            corrected = negtrace.corrected(before, method)
            yield f"{method.name} at inference", "", measured(about, corrected)
    for row, (seen, _) in TRAININGS[about.name].items():
        last = row == "both"
        wanted = {row, f"{row} @{SHARE}", *(f"both, {w}" for w in WEIGHTINGS if last)}
        if wanted <= done:
            continue
        after = trained(about, row, seed)
        yield row, seen, measured(about, after)
        yield f"{row} @{SHARE}", seen, measured(about, interpolate(before, after, SHARE))
        if last:
            for weighting, scaled in weighted(about, before, after, seed).items():
                shares = {block: min(1.0, SHARE * scale) for block, scale in scaled.items()}
                between = interpolate(before, after, shares)
                yield f"both, {weighting}", seen, measured(about, between)


def weighted(
    about: Subject, before: Encoder, after: Encoder, seed: int
) -> dict[str, dict[str, float]]:
    """Return the multipliers of the blocks, of mean 1, by the name of the weighting."""
    scores = traced(about)["transport"]
    found = {
        name: multipliers(scores, MultiplierOptions(weighting=name, seed=seed).chosen())
        for name in WEIGHTINGS[:-2]
    }
    blocks = list(before.block_names)
    moved = np.array([relative_change(before, after, block) for block in blocks])
    found["relative change"] = dict(zip(blocks, moved / moved.mean(), strict=True))
    drawn = Random(seed).sample(blocks, 3)  # noqa: S311
    found["three at random"] = {block: (block in drawn) * len(blocks) / 3 for block in blocks}
    return found


def relative_change(before: Encoder, after: Encoder, block: str) -> float:
    """Norm of the change of a block's weights, as a share of their norm (as Auto-RGN's)."""
    old, new = (encoder.model.get_submodule(block).state_dict() for encoder in (before, after))
    change = sum(float((new[name] - old[name]).square().sum()) for name in old)
    return (change / sum(float(weight.square().sum()) for weight in old.values())) ** 0.5


def fill(path: Path, options: argparse.Namespace) -> list[Run]:
    """Do the runs that are missing, and append each to a file."""
    runs = read_runs(path)
    path.write_text("".join(json.dumps(run) + "\n" for run in runs), "utf-8")
    for seed, swapped, model in product(options.seeds, (False, True), options.models):
        of_cell = {"model": model, "seed": seed, "swapped": swapped}
        done = {run["row"] for run in runs if of_cell.items() <= run.items()}
        about = subject(model, seed, swapped=swapped)
        for row, seen, figures in runs_of(about, seed, done):
            if row not in done:
                runs.append({**of_cell, "row": row, "seen": seen, **figures})
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(runs[-1]) + "\n")
    return runs


def summary(runs: Sequence[Run]) -> list[Run]:
    """Return a row for each model and way: means, intervals, and differences from before."""
    groups: dict[tuple[str, str], dict[tuple[int, bool], Run]] = {}
    for run in runs:
        cell = run["seed"], run["swapped"]
        groups.setdefault((run["model"], run["row"]), {})[cell] = run
    rows = []
    for (model, way), cells in groups.items():
        before = groups[model, "before"]
        first = next(iter(cells.values()))
        measures = [name for name, value in first.items() if isinstance(value, float)]
        row: Run = {"model": model, "row": way, "seen": first["seen"], "runs": len(cells)}
        row["mean"] = {n: float(np.mean([run[n] for run in cells.values()])) for n in measures}
        row["over_before"] = None
        if len(cells) > 1 and way != "before":
            row["over_before"] = {
                n: interval([run[n] - before[cell][n] for cell, run in cells.items()])
                for n in measures
            }
        rows.append(row)
    # An old record may lack a way that came later; those without a training come first.
    return sorted(rows, key=lambda row: (row["model"], row["row"] != "before", bool(row["seen"])))


def table(rows: Sequence[Run]) -> str:
    """Return the rows as Markdown, a table for each model."""
    parts = []
    for model in dict.fromkeys(row["model"] for row in rows):
        of_model = [row for row in rows if row["model"] == model]
        measures = [name for name in SHOWN if name in of_model[0]["mean"]]
        labels = [SHOWN[name] for name in measures]
        parts += [f"### {model}", "", head(["", "held-out words in", "runs", *labels])]
        for row in of_model:
            cells = [marked_mean(row, name, "over_before") for name in measures]
            parts.append(line([row["row"], row["seen"], str(row["runs"]), *cells]))
        parts.append("")
    return "\n".join(parts)


def main() -> None:
    """Do what is missing, and write the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--table", action="store_true", help="write the table of what is there")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore", NegtraceWarning)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "runs.jsonl"
    runs = read_runs(path) if options.table else fill(path, options)
    rows = summary(runs)
    record({**machine(threads=1), "rows": rows}, options.out / "mend.json")
    (options.out / "mend.md").write_text(table(rows), "utf-8")


if __name__ == "__main__":
    main()
