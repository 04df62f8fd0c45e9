"""Worth of layer scores for fine-tuning: every weighting against uniform, seed by seed.

    python benchmarks/selective.py --out benchmarks/results/selective

The models are the phantom (radiographs) and all-MiniLM-L6-v2 (text anchors). Every run starts from
the same weights and trains for the same number of steps with the same budget. Only the multipliers
of the blocks differ: four layer scores, and the controls uniform, permuted (another order for each
seed), inverted, the top and the front three blocks. The controls are made from `transport`. There
are two modes: `lr` scales learning rates, `grad` scales gradients as NAST (arXiv 2602.12498) does.

`subjects.py` holds the questions: polarity questions in frames that never held a denial in
training, about findings in the training data and about others (`new_`). `kept` is R@5 of
affirmative texts, or how well the similarities of real captions keep their order (Spearman). MiniLM
is also asked about twins with other findings in other `templates`, `clinical` sentences (NegEx) and
`general` ones (NegBench).

Each run is a line of `runs.jsonl`. The same command again goes on after an interruption.
`selective.json` holds means over seeds and their differences from uniform, paired by seed, with
95 % intervals of Student's t. `selective.md` is the same as a table. Two figures are written to
`figures/`, or to `--figures`: the differences, and how far each block moved.
"""

import argparse
import json
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from record import machine, record
from scipy.stats import t
from subjects import MODELS, Subject
from tqdm import tqdm

import negtrace
from negtrace._markdown import escaped
from negtrace.errors import NegtraceWarning
from negtrace.experiments import selective_finetune
from negtrace.results.layer_scores import LayerScores
from negtrace.training import MultiplierOptions, multipliers

METHODS = ("nast", "transport", "component", "cue")
CONTROLS = ("uniform", "permuted", "inverted", "top", "front")
REFERENCE = "transport"
"""The layer score that the controls are made from."""

MODES = {"lr": "#2f6db5", "grad": "#c8553d"}

SHOWN = {"negated": "negated", "new_negated": "negated, held out", "kept": "kept"}
"""Measures in the figure and in the short table."""

ROOT = Path(__file__).parents[1]

KEY = ("model", "mode", "weighting", "seed")
"""Fields that identify a run."""

Run = dict[str, Any]
Multipliers = dict[str, float]
Scores = dict[str, LayerScores]
"""By method."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A run of the grid."""

    model: str
    mode: str
    weighting: str
    seed: int
    steps: int | None
    data: Path

    @property
    def key(self) -> tuple[object, ...]:
        """The values of `KEY`."""
        return tuple(getattr(self, name) for name in KEY)


def grid(options: argparse.Namespace) -> Iterator[Cell]:
    """Yield every model, mode and weighting, seed by seed; uniform is the same in both modes."""
    for seed, model, mode, weighting in product(
        range(options.seeds), options.models, MODES, (*METHODS, *CONTROLS)
    ):
        if (mode, weighting) != ("grad", "uniform"):
            yield Cell(
                model=model,
                mode=mode,
                weighting=weighting,
                seed=seed,
                steps=options.steps,
                data=options.data,
            )


def traced(subject: Subject) -> Scores:
    """Return the layer scores of one trace before training."""
    sites = ["resid", "attn_out", "mlp_out"]
    cte = negtrace.trace(subject.load(), subject.pairs(), sites=sites, direction="noising")
    return {method: negtrace.layer_scores(cte, method) for method in METHODS}


def multipliers_of(scores: Scores, cell: Cell) -> Multipliers:
    """Return the multiplier of every block."""
    if cell.weighting in METHODS:
        return multipliers(scores[cell.weighting])
    options = MultiplierOptions(weighting=cell.weighting, seed=cell.seed)
    return multipliers(scores[REFERENCE], options.chosen())


@cache
def subject(model: str, data: Path) -> Subject:
    """Return a model with its questions, made once per process."""
    torch.set_num_threads(1)
    return MODELS[model](data)


def trained(cell: Cell, scaled: Multipliers) -> Run:
    """Train once, and return the figures of the run."""
    # The warnings say that AdamW undoes scaled gradients and that a ranking is not stable. Both are
    # part of what is measured here.
    warnings.simplefilter("ignore", NegtraceWarning)
    about = subject(cell.model, cell.data)
    settings = {**about.settings, **({"steps": cell.steps} if cell.steps else {})}
    encoder, sets = about.load(), about.sets(cell.seed)
    result = selective_finetune(
        encoder, sets, scaled, mode=cell.mode, seed=cell.seed, progress=False, **settings
    )
    return {
        **dict(zip(KEY, cell.key, strict=True)),
        **about.measured(encoder),
        "top3": result.change.top(3),
        "top5": result.change.top(5),
        "multipliers": [round(scale, 6) for scale in scaled.values()],
        "norms": [round(float(norm), 6) for norm in result.change.norms],
    }


def read_runs(path: Path) -> list[Run]:
    """Return the runs that are done; a line that was cut off does not count."""
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def fill(path: Path, cells: Sequence[Cell], scores: dict[str, Scores], workers: int) -> None:
    """Do the runs, each on one thread, and append each to a file."""
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        path.open("a", encoding="utf-8") as file,
    ):
        given = [multipliers_of(scores[cell.model], cell) for cell in cells]
        for run in tqdm(pool.map(trained, cells, given), total=len(cells), disable=None):
            file.write(json.dumps(run) + "\n")
            file.flush()


def summary(runs: Sequence[Run]) -> list[Run]:
    """Return a row for each model, mode and weighting: means, and differences from uniform."""
    groups: dict[tuple[object, ...], dict[int, Run]] = {}
    for run in runs:
        groups.setdefault((run["model"], run["mode"], run["weighting"]), {})[run["seed"]] = run
    rows = []
    for (model, mode, weighting), seeds in groups.items():
        uniform = groups.get((model, "lr", "uniform"), {})
        row: Run = {"model": model, "mode": mode, "weighting": weighting, "seeds": len(seeds)}
        row |= {"mean": mean(list(seeds.values())), "over_uniform": None}
        paired = [(run, uniform[seed]) for seed, run in seeds.items() if seed in uniform]
        if len(paired) > 1 and weighting != "uniform":
            row["over_uniform"] = {
                name: interval([run[name] - other[name] for run, other in paired])
                for name in row["mean"]
            }
        rows.append(row)
    return rows


def mean(runs: Sequence[Run]) -> dict[str, float]:
    """Return the mean of every figure."""
    named = [name for name, value in runs[0].items() if isinstance(value, float)]
    return {name: float(np.mean([run[name] for run in runs])) for name in named}


def interval(values: Sequence[float], confidence: float = 0.95) -> list[float]:
    """Return the mean, and the low and high end of Student's t interval."""
    middle, spread = np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values))
    reach = t.ppf((1 + confidence) / 2, len(values) - 1) * spread
    return [float(middle), float(middle - reach), float(middle + reach)]


def short_table(rows: Sequence[Run], before: dict[str, dict[str, float]]) -> str:
    """Return the runs with scaled learning rates as Markdown, all models side by side."""
    names = [f"{model}: {label}" for model in before for label in SHOWN.values()]
    lines = [head(["weighting", *names])]
    lines.append(
        line(["before", *(f"{plain[name]:.3f}" for plain in before.values() for name in SHOWN)])
    )
    scaled = [row for row in rows if row["mode"] == "lr"]
    for weighting in dict.fromkeys(row["weighting"] for row in scaled):
        by_model = {row["model"]: row for row in scaled if row["weighting"] == weighting}
        lines.append(
            line(
                [
                    weighting,
                    *(marked_mean(by_model[model], name) for model in before for name in SHOWN),
                ]
            )
        )
    return "\n".join(lines)


def table(rows: Sequence[Run], before: dict[str, dict[str, float]]) -> str:
    """Return the rows as Markdown: the short table, and one of all measures for each model."""
    parts = ["## learning rates", "", short_table(rows, before), ""]
    for model, plain in before.items():
        names = [*plain, "top3"]
        parts += [f"## {escaped(model)}", "", head(["weighting", "mode", *names])]
        parts.append(line(["before", "", *(f"{value:.3f}" for value in plain.values()), ""]))
        for row in (r for r in rows if r["model"] == model):
            cells = [marked_mean(row, name) for name in names]
            parts.append(line([row["weighting"], row["mode"], *cells]))
        parts.append("")
    return "\n".join(parts)


def marked_mean(row: Run, name: str, over: str = "over_uniform") -> str:
    """Return a mean; with a sign if the interval of its difference, in `over`, excludes 0."""
    _, low, high = (row[over] or {}).get(name, (0.0, 0.0, 0.0))
    sign = "+" if low > 0 else "-" if high < 0 else ""
    return f"{row['mean'][name]:.3f}{sign}"


def head(cells: Sequence[str]) -> str:
    """Return the two lines of Markdown that begin a table."""
    return f"{line(cells)}\n{line(['---'] * len(cells))}"


def line(cells: Sequence[str]) -> str:
    """Return a row of a table as a line of Markdown."""
    return f"| {' | '.join(map(escaped, cells))} |"


def draw_worth(rows: Sequence[Run], measures: dict[str, str], path: Path) -> None:
    """Draw the difference of each weighting from uniform with intervals, a row for each model."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure = Figure(figsize=(4.6 * len(measures), 3.4 * len(models)), layout="constrained")
    axes = figure.subplots(len(models), len(measures), squeeze=False)
    for across, model in zip(axes, models, strict=True):
        compared = [row for row in rows if row["model"] == model and row["over_uniform"]]
        names = list(dict.fromkeys(row["weighting"] for row in compared))
        for ax, (measure, label) in zip(across, measures.items(), strict=True):
            for shift, (mode, colour) in enumerate(MODES.items()):
                of_mode = [row for row in compared if row["mode"] == mode]
                by_name = {row["weighting"]: row["over_uniform"][measure] for row in of_mode}
                if not by_name:
                    continue
                middle, low, high = np.array(list(by_name.values())).T
                ax.errorbar(
                    middle,
                    [names.index(name) + 0.3 * shift - 0.15 for name in by_name],
                    xerr=[middle - low, high - middle],
                    fmt="o",
                    color=colour,
                    label=f"mode {mode}",
                )
            ax.axvline(0, color="black", linewidth=0.8)
            ax.set_yticks(range(len(names)), names)
            ax.invert_yaxis()
            ax.set(title=f"{model}: {label}", xlabel="difference from uniform (right is better)")
            ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def draw_shares(runs: Sequence[Run], path: Path) -> None:
    """Draw how far each block moved in both modes, beside the multipliers."""
    models = list(dict.fromkeys(run["model"] for run in runs))
    figure = Figure(figsize=(5.2 * len(models), 3.4), layout="constrained")
    for ax, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        bars = {
            "multipliers": (shares(runs, "multipliers", model, "lr", REFERENCE), "#bbbbbb"),
            **{
                f"moved, mode {mode}": (shares(runs, "norms", model, mode, REFERENCE), colour)
                for mode, colour in MODES.items()
            },
            "moved, uniform": (shares(runs, "norms", model, "lr", "uniform"), "#666666"),
        }
        for place, (label, (heights, colour)) in enumerate(bars.items()):
            at = np.arange(len(heights)) + 0.2 * (place - 1.5)
            ax.bar(at, heights, width=0.2, color=colour, label=label)
        ax.set(title=f"{model}, {REFERENCE}", xlabel="block", ylabel="share of all")
        ax.set_xticks(range(len(heights)))
        ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    figure.savefig(path, dpi=120)


def shares(runs: Sequence[Run], field: str, *wanted: str) -> np.ndarray:
    """Return the share of each block in a field, for a model, mode and weighting, over seeds."""
    rows = [r[field] for r in runs if (r["model"], r["mode"], r["weighting"]) == wanted]
    return np.mean([np.array(row) / sum(row) for row in rows], axis=0)


def main() -> None:
    """Run what is missing, and write the tables and the figures of what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--steps", type=int, help="number of updates; by default each model has its own"
    )
    parser.add_argument("--most", type=int, help="do no more runs than this, for now")
    parser.add_argument("--workers", type=int, default=2, help="runs at once, each on one thread")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--figures", type=Path, default=ROOT / "figures")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = {name: subject(name, options.data) for name in options.models}
    scores = {name: traced(one) for name, one in chosen.items()}
    path = options.out / "runs.jsonl"
    runs = read_runs(path)
    path.write_text("".join(json.dumps(run) + "\n" for run in runs), "utf-8")
    done = {tuple(run[name] for name in KEY) for run in runs}
    missing = [cell for cell in grid(options) if cell.key not in done]
    fill(path, missing[: options.most], scores, options.workers)
    runs = read_runs(path)
    rows = summary(runs)
    before = {name: one.measured(one.load()) for name, one in chosen.items()}
    about = {
        "runs": len(runs),
        "of_the_grid_to_come": len(missing) - len(missing[: options.most]),
        "settings": {name: one.settings for name, one in chosen.items()},
        "alpha": {
            name: {method: of_method.alpha.tolist() for method, of_method in by_method.items()}
            for name, by_method in scores.items()
        },
        "before": before,
    }
    record({**machine(threads=1), **about, "rows": rows}, options.out / "selective.json")
    (options.out / "selective.md").write_text(table(rows, before), "utf-8")
    options.figures.mkdir(parents=True, exist_ok=True)
    draw_worth(rows, SHOWN, options.figures / "selective.png")
    draw_shares(runs, options.figures / "update_share.png")


if __name__ == "__main__":
    main()
