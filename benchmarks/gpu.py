"""Run the exact sweep on a GPU and on the CPU of the same machine, and compare the numbers.

    python benchmarks/gpu.py --out benchmarks/results/gpu.json

The model is that of `sweep.py`: a CLIP of ViT-B/32 size with random weights. A pair has 12 tokens
and first differs at token 3. The image is embedded once for each call.

`gap_of_logit_float32` is the largest difference of a patched score from the CPU's, over the largest
score; `ratio_gap_float64` is the largest difference of an effect in float64.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from record import machine, record
from sweep import FIRST, SITES, clip, contrast, timed

from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.tracing.engines.exact import Exact
from negtrace.tracing.engines.sweep import Sweep
from negtrace.tracing.sites import plan_for

PAIRS = 64


def patched(
    encoder: DualEncoder, count: int, *sites: str, row_tokens: int = 4096
) -> list[np.ndarray]:
    """Return the patched scores of `count` pairs, each [site, layer, position]."""
    size = encoder.model.config.vision_config.image_size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, size, size, generator=generator, dtype=torch.float64)
    weight = next(encoder.model.parameters())
    image = encoder.model.get_image_features(pixel_values=pixels.to(weight)).pooler_output
    sweep = Sweep(
        encoder=encoder,
        contrasts=[contrast(seed) for seed in range(count)],
        anchors=image.expand(count, -1),
        direction="noising",
        plan=plan_for(encoder, sites or ("resid",)),
        row_tokens=row_tokens,
        progress=False,
    )
    scores = sorted(Exact().run(sweep), key=lambda score: score.index)
    if weight.is_cuda:
        torch.cuda.synchronize()
    return [score.patched for score in scores]


def effects(scores: list[np.ndarray]) -> np.ndarray:
    """Return the noising effect of every cell at `resid`, [pair, layer, position]."""
    grid = np.stack([score[0] for score in scores])
    clean, corrupt = grid[:, :1, :1], grid[:, :1, FIRST : FIRST + 1]
    return (clean - grid) / (clean - corrupt)


def gap(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """Return the largest difference of a score, over the largest score."""
    scores, others = np.stack(one), np.stack(other)
    return float(np.nanmax(np.abs(scores - others)) / np.nanmax(np.abs(scores)))


def measure(repeats: int) -> dict[str, object]:
    """Return time and numbers of both devices."""
    cpu = clip(torch.float32)
    cpu_s, cpu_scores = timed(lambda: patched(cpu, 16), repeats)
    gpu = clip(torch.float32)
    gpu.model.to("cuda")
    gpu_s, gpu_scores = timed(lambda: patched(gpu, 16), repeats)
    figures: dict[str, object] = {
        "device": torch.cuda.get_device_name(),
        "cpu_threads": torch.get_num_threads(),
        "cpu_ms_a_pair_of_16": cpu_s / 16 * 1e3,
        "gpu_ms_a_pair_of_16": gpu_s / 16 * 1e3,
        "gpu_over_cpu_16": cpu_s / gpu_s,
        "gap_of_logit_float32": gap(cpu_scores, gpu_scores),
    }
    for row_tokens in (4096, 65536):
        seconds, _ = timed(lambda size=row_tokens: patched(gpu, PAIRS, row_tokens=size), repeats)
        figures[f"gpu_ms_a_pair_of_{PAIRS}_row_tokens_{row_tokens}"] = seconds / PAIRS * 1e3
    seconds, _ = timed(lambda: patched(gpu, PAIRS, *SITES, row_tokens=65536), 1)
    figures[f"gpu_ms_a_pair_of_{PAIRS}_all_sites"] = seconds / PAIRS * 1e3
    figures["gpu_peak_memory_mib"] = torch.cuda.max_memory_allocated() / 2**20
    exact, moved = clip(torch.float64), clip(torch.float64)
    moved.model.to("cuda")
    gaps = effects(patched(exact, 4)) - effects(patched(moved, 4))
    figures["ratio_gap_float64"] = float(np.abs(gaps).max())
    return figures


def main() -> None:
    """Measure, print, and write the figures with the machine they were measured on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("no CUDA device is at hand; this benchmark compares one with the CPU")
    with torch.inference_mode():
        figures = measure(options.repeats)
    record({**machine(), **figures}, options.out)


if __name__ == "__main__":
    main()
