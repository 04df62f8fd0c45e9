"""Jobs that trace models: every setting of the command, model family, toolkit and result."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from inputs import METHODS, MINILM, MODELS, VALSE
from recorder import Recorder
from small_models import model_folder, tower, word_tokenizer
from stored_form import INPUTS

import negtrace

SITES = "resid resid_pre attn_out mlp_out"
SITES_AND_HEADS = f"{SITES} head"
MAIN_SITES = "resid attn_out mlp_out"
DIRECTIONS = ("denoising", "noising")
CORRUPTIONS = ("swap", "neutral", "noise", "mask", "resample", "mean", "zero")

TRACES = {
    "sites": f"--sites {SITES_AND_HEADS}",
    "role": f"--sites {SITES} --positions role",
    "whole": f"--sites {SITES_AND_HEADS} --positions all",
    "roles": "--positions cue subject",
    "window": "--sites resid attn_out --window 3",
    **{f"by-{name}": f"--corruption {name}" for name in CORRUPTIONS},
    "set": "--corruption noise --set samples=3 multiple=1.0",
    "word": "--corruption neutral --set word=a",
    "attribution": f"--method attribution --sites {MAIN_SITES} --verify 10",
    "gradients": f"--method integrated_gradients --steps 3 --sites {MAIN_SITES} --verify 10",
    "double": "--dtype float64 --include-text",
}
"""Options of traces by label."""


def _trace_with_every_setting(recorder: Recorder, model: str, limit: int) -> None:
    recorder.run("check", f"check {model}")
    recorder.trace("resid", f"{model} --limit {2 * limit}")
    for label, options in TRACES.items():
        recorder.trace(label, f"{model} {options} --limit {limit}")
    one_head = f"--sites head.1 --direction noising --limit {limit}"
    recorder.trace("head", f"{model} {one_head}", with_scores=False)


def trace_phantom(recorder: Recorder) -> None:
    """The phantom on the built-in pairs."""
    _trace_with_every_setting(recorder, "phantom", 6)


def trace_minilm(recorder: Recorder) -> None:
    """all-MiniLM-L6-v2 on the built-in pairs."""
    _trace_with_every_setting(recorder, MODELS["minilm"], 4)
    for read_out in ("cls", "mean", "pooler"):
        recorder.trace(f"read-{read_out}", f"{MODELS['minilm']} --read-out {read_out} --limit 4")


def trace_toy(recorder: Recorder) -> None:
    """The toy model, whose effects are known by hand."""
    recorder.run("check", "check toy")
    recorder.trace("toy", "toy")
    recorder.trace("by-neutral", "toy --corruption neutral --limit 20")
    recorder.trace("whole", "toy --positions all --window 2", with_scores=False)


def trace_pairs(recorder: Recorder) -> None:
    """Pairs from files: radiographs, VALSE, statements of unequal lengths, and bad lines."""
    recorder.run("pairs-phantom", "pairs phantom --n 12 --seed 3 --out p.jsonl")
    recorder.run("pairs-valse", f"pairs valse --file {VALSE} --out valse.jsonl")
    for label, options in {
        "films": "phantom --pairs p.jsonl",
        "films-sites": f"phantom --pairs p.jsonl --sites {SITES_AND_HEADS} --limit 4",
        "valse-minilm": f"{MODELS['minilm']} --pairs valse.jsonl --limit 8",
        "uneven": f"{MODELS['minilm']} --pairs {INPUTS}/uneven.jsonl --include-text",
        "uneven-phantom": f"phantom --pairs {INPUTS}/uneven.jsonl --sites resid mlp_out",
        "skip-bad": f"{MODELS['minilm']} --pairs {INPUTS}/bad.jsonl --skip-bad",
    }.items():
        recorder.trace(label, options)
    recorder.run("demo", "demo --pairs 8 --seed 1 --out demo")


def families(recorder: Recorder) -> None:
    """Small models of each family, loaded from folders."""
    prompt = "--template '{anchor} is {statement} true ? answer :' --answers ' yes' ' no'"
    for name, options in {
        "bert": "--read-out cls",
        "clip": "",
        "siglip": "",
        "gpt2": prompt,
        "llama": prompt,
    }.items():
        model = f"{model_folder(name)} {options}"
        recorder.run(f"{name}-check", f"check {model}")
        recorder.trace(f"{name}-resid", f"{model} --limit 6")
        recorder.trace(f"{name}-sites", f"{model} --sites {SITES} --limit 6")
        if options == prompt:
            recorder.bench(f"{name}-bench", f"{model} --suite polarity --data text")


def heads(recorder: Recorder) -> None:
    """Effect and selectivity of every head."""
    other = "--direction denoising --queries other --positions token"
    for name, model in MODELS.items():
        few = f"heads {model} --limit 5 --formats"
        recorder.run(f"{name}-noising", f"{few} --out {name}-noising")
        recorder.run(f"{name}-other", f"{few} {other} --out {name}-other")
    options = "--corruption neutral --positions cue --limit 6 --formats --out neutral"
    recorder.run("neutral", f"heads phantom {options}")


def scores(recorder: Recorder) -> None:
    """Layer scores by every method, and figures drawn from the JSON alone."""
    for name, model in MODELS.items():
        recorder.trace(name, f"{model} --sites {MAIN_SITES} --limit 12")
        for direction, method in product(DIRECTIONS, METHODS):
            options = f"--method {method} --csv {name}/{direction}-{method}.csv"
            command = f"scores {name}/{direction}.json {options}"
            recorder.run(f"{name}-{direction}-{method}", command)
        both, one = f"{name}/denoising.json {name}/noising.json", f"{name}/noising.json"
        recorder.run(f"{name}-plot", f"plot {both} --formats png --out {name}/drawn")
        recorder.run(f"{name}-plot-one", f"plot {one} --formats png --out {name}/one")


def python(recorder: Recorder) -> None:
    """Results in Python: effects, scores, heads, files, pairs, and a wrapped module."""
    encoder = negtrace.load("phantom")
    pairs = negtrace.sample(negtrace.radiology_pairs(), 7)
    options = {"direction": "noising", "progress": False}
    cte = negtrace.trace(encoder, pairs, sites=MAIN_SITES.split(), **options)
    cte.save(Path("cte.safetensors"))
    again = negtrace.CTE.load(Path("cte.safetensors"))
    again.save(Path("again.safetensors"))
    recorder.value("segments", [again.segments, again.segment_counts, again.tau, again.d.tolist()])
    for aggregate in ("ratio_of_means", "mean_of_ratios", "median"):
        effect = again.effect(aggregate=aggregate, resamples=200)
        recorder.table(f"effect-{aggregate}", effect.to_dataframe())
        for method, result in negtrace.all_layer_scores(cte, aggregate=aggregate).items():
            label = f"{method}-{aggregate}"
            recorder.table(label, result.to_dataframe())
            recorder.value(label, [result.note, result.stable, result.scale(2.0)])
    first_pair = again.select(np.arange(len(again)) == 0)
    recorder.table("tokens", first_pair.effect(axis="token").to_dataframe())
    by_head = negtrace.trace(encoder, pairs, sites=["head"], positions="all", **options)
    selectivity = negtrace.head_selectivity(encoder, pairs, progress=False)
    for grid in (negtrace.head_effect(by_head), selectivity):
        label = type(grid).__name__
        recorder.table(label, grid.to_dataframe())
        recorder.value(label, [grid.top(5), grid.to_json()])
    recorder.value("pairs", [asdict(pair) for pair in negtrace.radiology_pairs()])
    negtrace.write_pairs(pairs, "pairs.jsonl")
    recorder.value("same-pairs", negtrace.read_pairs("pairs.jsonl") == pairs)
    _trace_wrapped_towers(recorder, pairs)


def _trace_wrapped_towers(recorder: Recorder, pairs: Sequence[Any]) -> None:
    import torch

    torch.manual_seed(0)
    for read_out in ("mean", "first", "last"):
        name = f"tower-{read_out}"
        wrapped = negtrace.wrap(tower(), word_tokenizer(), read_out=read_out, name=name)
        recorder.value(f"check-{name}", str(negtrace.check(wrapped)).splitlines())
        negtrace.trace(wrapped, pairs, progress=False).save(Path(f"{name}.safetensors"))


TOOLKITS = ("transformer_lens", "nnsight")
"""The engines that run a trace by another toolkit."""


def interop(recorder: Recorder) -> None:
    """The same traces by transformer_lens and nnsight, and an encoder in the former's form."""
    from negtrace.tracing import as_hooked

    pairs = negtrace.radiology_pairs()[:2]
    sites = [*MAIN_SITES.split(), "head.1"]
    for label, model in (("phantom", "phantom"), ("minilm", f"{INPUTS}/{MINILM}")):
        encoder = negtrace.load(model, name=label)
        for name, direction in product(TOOLKITS, DIRECTIONS):
            options = {"sites": sites, "direction": direction, "progress": False}
            cte = negtrace.trace(encoder, pairs, method=name, **options)
            cte.save(Path(f"{label}-{name}-{direction}.safetensors"))
    hooked = as_hooked(negtrace.load("phantom"), pairs[0].anchor)
    score, cache = hooked.run_with_cache(hooked.to_tokens(pairs[0].true))
    states = {name: state.detach().numpy() for name, state in cache.cache_dict.items()}
    recorder.arrays("hooked", {"score": score.detach().numpy(), **states})


JOBS = (trace_toy, trace_phantom, trace_minilm, trace_pairs, families, heads, scores, python)
JOBS += (interop,)
