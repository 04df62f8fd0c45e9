"""Time a trace in one process and in two, and with and without a checkpoint.

    python benchmarks/processes.py --out benchmarks/results/processes.json

Of two models: the phantom, whose patched runs take about as long as its pairs take to prepare, and
a CLIP of ViT-B/32 size with random weights, where almost all time is patched runs. Every process
has one thread. Two processes run a shard each; then the merge reads what they have finished, and
writes the results. Its time counts. The scores must be the same bytes.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import transformers
from record import machine, record
from safetensors.numpy import load_file

from negtrace.encoders.base import Encoder
from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.encoders.load import load
from negtrace.experiments.trace import run_shard, run_trace
from negtrace.pairs.pair import Pair
from negtrace.pairs.phantom import phantom_pairs
from negtrace.pairs.radiology import radiology_pairs
from negtrace.phantom import CHECKPOINT
from negtrace.tracing.shard import Shard
from negtrace.tracing.trace import trace

DIRECTIONS = ("noising",)


def seconds(work: Callable[..., object], *args: object, **options: object) -> float:
    """Return how long some work takes."""
    begun = time.perf_counter()
    work(*args, **options)
    return time.perf_counter() - begun


def alone(encoder: Encoder, pairs: list[Pair], out: Path) -> None:
    """Trace in this process."""
    run_trace(encoder, out, pairs, directions=DIRECTIONS, formats=(), progress=False)


def shared(encoder: Encoder, pairs: list[Pair], out: Path) -> None:
    """Trace in two forked processes, and merge in this one."""
    children = []
    for number in (1, 2):
        if not (pid := os.fork()):
            status = 1
            try:
                run_shard(
                    encoder,
                    out,
                    pairs,
                    shard=Shard(number, 2),
                    directions=DIRECTIONS,
                    progress=False,
                )
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    if any(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children):
        raise SystemExit("a shard failed")
    alone(encoder, pairs, out)


def phantom() -> tuple[Encoder, list[Pair]]:
    """Return the phantom and as many pairs as it has in a large benchmark."""
    return load("phantom"), phantom_pairs(2400)


def vit_b32() -> tuple[Encoder, list[Pair]]:
    """Return a CLIP of ViT-B/32 size that reads the phantom's tokens, and many built-in pairs."""
    torch.manual_seed(0)
    small = transformers.CLIPConfig.from_pretrained(CHECKPOINT).text_config
    text = {
        name: getattr(small, name)
        for name in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")
    }
    config = transformers.CLIPConfig(text_config=text)
    model = transformers.CLIPModel(config).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(CHECKPOINT)
    pairs = [
        replace(pair, id=f"{pair.id}-{number}") for number in range(4) for pair in radiology_pairs()
    ]
    return DualEncoder(model, tokenizer, None, name="clip-vit-b32-random"), pairs


def measured(encoder: Encoder, pairs: list[Pair], repeats: int) -> dict[str, object]:
    """Return the best times of each way, taken in turns."""
    trace(encoder, pairs[:8], progress=False)
    times: dict[str, list[float]] = {"one": [], "two": [], "bare": [], "checkpoint": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for repeat in range(repeats):
            one, two = (folder / f"{way}-{repeat}" for way in ("one", "two"))
            saved = folder / f"{repeat}.partial"
            times["one"].append(seconds(alone, encoder, pairs, one))
            times["two"].append(seconds(shared, encoder, pairs, two))
            for way, checkpoint in (("bare", None), ("checkpoint", saved)):
                times[way].append(
                    seconds(trace, encoder, pairs, checkpoint=checkpoint, progress=False)
                )
        first, second = (load_file(way / "noising.safetensors") for way in (one, two))
    best = {way: round(min(taken), 3) for way, taken in times.items()}
    return {
        "model": encoder.name,
        "pairs": len(pairs),
        "seconds": best,
        "speed_up": round(best["one"] / best["two"], 3),
        "checkpoint_overhead": round(best["checkpoint"] / best["bare"] - 1, 4),
        "identical": all(first[key].tobytes() == second[key].tobytes() for key in first),
    }


def main() -> None:
    """Measure each model, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measured(*model(), args.repeats) for model in (phantom, vit_b32)]
    record({**machine(threads=1), "rows": rows}, args.out)
    if not all(row["identical"] for row in rows):
        raise SystemExit("two processes gave other scores than one")


if __name__ == "__main__":
    main()
