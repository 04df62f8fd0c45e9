"""Jobs that measure and train models: every benchmark suite, and short fine-tunings."""

from inputs import METHODS, MINILM, MODELS, PUBLIC, VALSE, radiographs
from recorder import Recorder
from stored_form import INPUTS


def bench_phantom(recorder: Recorder) -> None:
    """Every suite on the phantom."""
    _bench_every_suite(recorder, "phantom", "phantom")
    for suite in ("polarity", "claims", "retrieval"):
        recorder.bench(f"phantom-{suite}-text", f"phantom --suite {suite} --data text")
    recorder.bench("phantom-films", f"phantom --data {radiographs(120)} --limit 100")


def bench_minilm(recorder: Recorder) -> None:
    """Every suite on all-MiniLM-L6-v2, and one suite on two models."""
    folder = f"{INPUTS}/{MINILM}"
    _bench_every_suite(recorder, "minilm", f"{folder} --names {MINILM}")
    recorder.bench("both", f"phantom {folder} --names phantom {MINILM} --suite collapse")


def _bench_every_suite(recorder: Recorder, name: str, model: str) -> None:
    """Run every suite on a model, with built-in questions and with files."""
    choices = f"{PUBLIC}/negbench/coco_mcq_part.csv"
    candidates = f"{PUBLIC}/negbench/coco_retrieval_negated_part.csv"
    for label, options in {
        "polarity": "--suite polarity",
        "claims": "--suite claims",
        "retrieval": "--suite retrieval",
        "collapse": "--suite collapse",
        "told": "--include-text --seed 3 --count 8",
        "choices": f"--suite negbench --data {choices} --anchors {candidates}",
        "gallery": f"--suite negbench --data {candidates}",
        "found": f"--suite retrieval --data {candidates}",
        "valse": f"--suite negbench --data {VALSE}",
        "sets": f"--suite claims --data {INPUTS}/sets.jsonl",
        "triples": f"--suite collapse --data {INPUTS}/triples.jsonl",
    }.items():
        recorder.bench(f"{name}-{label}", f"{model} {options}")


WEIGHTINGS = ("scored", "uniform", "permuted", "inverted", "top", "front")
TRAININGS = {
    **{name: f"--weighting {name}" for name in WEIGHTINGS},
    **{f"by-{name}": f"--method {name}" for name in METHODS},
    "grad": "--mode grad",
    "grad-sgd": "--mode grad --optimizer sgd --weighting inverted",
    "full": "--adapter full --keep 2 --balance 0.2",
    "settings": "--beta 2 --floor 0 --no-equal-budget --rank 4 --seed 1",
    "decay": "--weight-decay 0.1 --weighting top --k 2 --clip 0.1",
    "trainer": "--trainer gradient_accumulation_steps=2 logging_steps=2",
}
"""Options of the fine-tunings of the phantom by label."""


def finetune(recorder: Recorder) -> None:
    """Short fine-tunings: every weighting, both modes, adapters and whole blocks."""
    sites = "--sites resid attn_out mlp_out --direction noising"
    recorder.trace("traced", f"phantom {sites} --limit 8")
    recorder.run("films", f"dataset {radiographs(120)} --val 0.2 --per-study 2 --out films")
    short = "--data films/claims-train.jsonl --steps 3 --batch 8 --count 0"
    for label, options in TRAININGS.items():
        files = f"--cte traced/noising.json --out tuned-{label}"
        recorder.run(f"tuned-{label}", f"finetune phantom {files} {short} {options}")
    recorder.trace("retraced", "tuned-scored/adapter --name tuned --limit 6")


def finetune_studied(recorder: Recorder) -> None:
    """A fine-tuning of the phantom on its own films, with a benchmark before and after."""
    recorder.trace("traced", "phantom --direction noising --limit 8")
    files = "--cte traced/noising.json --out tuned"
    recorder.run("tuned", f"finetune phantom {files} --steps 4 --batch 8 --count 8")


def finetune_minilm(recorder: Recorder) -> None:
    """Fine-tunings of all-MiniLM-L6-v2 on a data set that is anchored on texts."""
    model, nih = MODELS["minilm"], f"{PUBLIC}/nih_cxr14_starter/labels.csv"
    recorder.trace("traced", f"{model} --direction noising --limit 8")
    recorder.run("texts", f"dataset {nih} --anchors text --out texts")
    short = "--cte traced/noising.json --steps 2 --batch 8 --data texts/claims-val.jsonl"
    for label, options in {
        "scored": "--count 0",
        "grad": "--count 0 --mode grad --method nast",
        "joint": "--count 0 --joint --keep 1 --scale 10",
        "studied": "--count 8 --questions text",
    }.items():
        command = f"finetune {model} {short} {options} --out tuned-{label}"
        recorder.run(f"tuned-{label}", command)


JOBS = (bench_phantom, bench_minilm, finetune, finetune_studied, finetune_minilm)
