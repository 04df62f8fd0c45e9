"""Time the exact sweep against the loops people write, in one run, and compare the numbers.

Run with one thread, as the figures of the README were:

    python benchmarks/sweep.py --threads 1 --out benchmarks/results/sweep.json

The model is a CLIP of ViT-B/32 size with random weights; a pair has 12 tokens and first differs
at token 3. The peers are written from their papers' descriptions:

* `nast`: a whole CLIP forward for every cell, both texts and the image (arXiv 2602.12498);
* `text`: one text forward for every cell, the image embedded once (what patching libraries do).

The image is embedded within every time; `text_alone` takes that off both sides of a ratio.
`limit` is the time of the matrix multiplications that no exact sweep can avoid (`limit.py`), over
the sweep's own time.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import transformers
from limit import limit_seconds
from record import machine, record
from torch import Tensor

from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.tracing.corruptions.contrast import Contrast, Run
from negtrace.tracing.engines.exact import Exact
from negtrace.tracing.engines.sweep import Sweep
from negtrace.tracing.sites import plan_for

T = TypeVar("T")
SITES = ("resid", "attn_out", "mlp_out", "head")
TOKENS, FIRST, START, END = 12, 3, 49406, 49407


class Numbers:
    """Reads every statement as the same ten words: the pairs are made of token ids here."""

    def __call__(self, *_: object, **__: object) -> dict[str, list[int]]:
        """Return the token ids of ten words."""
        return {"input_ids": [START, *range(1000, 1010), END]}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        """Return the ids as words."""
        return [str(i) for i in ids]


def clip(dtype: torch.dtype) -> DualEncoder:
    """Return a randomly initialised CLIP of ViT-B/32 size."""
    torch.manual_seed(0)
    config = transformers.CLIPConfig()
    config.text_config.eos_token_id = END
    model = transformers.CLIPModel(config).eval().to(dtype)
    return DualEncoder(model, Numbers(), None, name="clip-vit-b32-random")


def contrast(seed: int, tokens: int = TOKENS) -> Contrast:
    """Return a one-token swap at `FIRST` in a statement of random words."""
    words = np.random.default_rng(seed).integers(1000, 40000, tokens + 1).tolist()
    clean = (START, *words[1 : tokens - 1], END)
    corrupt = (*clean[:FIRST], words[-1], *clean[FIRST + 1 :])
    roles = ("start", *["prefix"] * (FIRST - 1), "cue", *["rest"] * (tokens - FIRST - 2), "end")
    identity = tuple((i,) for i in range(tokens))
    return Contrast(
        clean=Run(ids=clean, roles=roles, read_out=tokens - 1),
        corrupt=Run(ids=corrupt, roles=roles, read_out=tokens - 1),
        clean_from_corrupt=identity,
        corrupt_from_clean=identity,
        first_difference=FIRST,
    )


def states_of(encoder: DualEncoder, ids: tuple[int, ...]) -> list[Tensor]:
    """Return every layer's state in one plain forward, `embed` first."""
    kept: list[Tensor] = []
    handles = [
        encoder.blocks[0].register_forward_pre_hook(lambda _, args: kept.append(args[0][0])),
        *[b.register_forward_hook(lambda _, __, out: kept.append(out[0])) for b in encoder.blocks],
    ]
    encoder.encode(torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return kept


def cell_by_cell(encoder: DualEncoder, pair: Contrast, forward: Callable[[], Tensor]) -> np.ndarray:
    """Patch the first row of `forward` in every cell, one forward each (noising)."""
    source = states_of(encoder, pair.corrupt.ids)
    grid = np.empty((len(encoder.layers), len(pair.clean.ids)))
    for layer, position in np.ndindex(*grid.shape):

        def write(hidden: Tensor, layer: int = layer, position: int = position) -> Tensor:
            hidden = hidden.clone()
            hidden[0, position] = source[layer][position]
            return hidden

        if layer == 0:
            handle = encoder.blocks[0].register_forward_pre_hook(
                lambda _, args, write=write: (write(args[0]), *args[1:])
            )
        else:
            handle = encoder.blocks[layer - 1].register_forward_hook(
                lambda _, __, out, write=write: write(out)
            )
        grid[layer, position] = forward().item()
        handle.remove()
    return grid


def nast(encoder: DualEncoder, pair: Contrast, pixels: Tensor) -> np.ndarray:
    """Run the whole model for every cell, as the released scripts are described."""
    ids = torch.tensor([pair.clean.ids, pair.corrupt.ids])

    def forward() -> Tensor:
        return encoder.model(input_ids=ids, pixel_values=pixels).logits_per_image[0, 0]

    return cell_by_cell(encoder, pair, forward)


def text_only(encoder: DualEncoder, pair: Contrast, pixels: Tensor) -> np.ndarray:
    """Run the text tower alone for every cell; the image is embedded once."""
    ids = torch.tensor([pair.clean.ids])
    image = encoder.model.get_image_features(pixel_values=pixels).pooler_output

    def forward() -> Tensor:
        return encoder.score(encoder.encode(ids), image)[0]

    return cell_by_cell(encoder, pair, forward)


def swept(
    encoder: DualEncoder, pairs: list[Contrast], pixels: Tensor, *sites: str
) -> list[np.ndarray]:
    """Run negtrace's sweep, the image embedded within the time."""
    image = encoder.model.get_image_features(pixel_values=pixels).pooler_output
    plan = plan_for(encoder, sites or ("resid",))
    sweep = Sweep(
        encoder=encoder,
        contrasts=pairs,
        anchors=image.expand(len(pairs), -1),
        direction="noising",
        plan=plan,
        progress=False,
    )
    scores = sorted(Exact().run(sweep), key=lambda one: one.index)
    return [one.patched[0] for one in scores]


def timed(run: Callable[[], T], repeats: int, *, warm_up: bool = True) -> tuple[float, T]:
    """Return the median wall time of `repeats` runs, and what the last one gave."""
    if warm_up:
        run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def parity(pixels: Tensor) -> float:
    """Return the largest difference of a ratio from the text loop's, in float64."""
    encoder, pair = clip(torch.float64), contrast(0)
    [ours] = swept(encoder, [pair], pixels.double())
    theirs = text_only(encoder, pair, pixels.double())
    d = theirs[0, 0] - theirs[0, FIRST]
    return float(np.abs((ours - theirs) / d).max())


def many_pairs(encoder: DualEncoder, count: int, pixels: Tensor) -> dict[str, float]:
    """Return time and peak memory of `count` pairs as long as VALSE's, 8 to 14 tokens."""
    lengths = np.random.default_rng(0).integers(8, 15, count)
    pairs = [contrast(seed, int(tokens)) for seed, tokens in enumerate(lengths)]
    start = time.perf_counter()
    swept(encoder, pairs[: count // 4], pixels)
    quarter_mib = peak_mib()
    swept(encoder, pairs[count // 4 :], pixels)
    seconds = time.perf_counter() - start
    return {
        "many_pairs": count,
        "many_s": seconds,
        "many_pairs_a_second": count / seconds,
        "many_peak_memory_of_a_quarter_mib": quarter_mib,
        "many_peak_memory_mib": peak_mib(),
    }


def peak_mib() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(repeats: int, count: int) -> dict[str, float]:
    """Return every figure of the table."""
    encoder, pair, pixels = clip(torch.float32), contrast(0), torch.randn(1, 3, 224, 224)
    # First, since the peak memory of a process never falls.
    many = many_pairs(encoder, count, pixels)
    image_s, _ = timed(lambda: encoder.model.get_image_features(pixel_values=pixels), repeats)
    nast_s, nast_grid = timed(lambda: nast(encoder, pair, pixels), 1, warm_up=False)
    text_s, text_grid = timed(lambda: text_only(encoder, pair, pixels), repeats)
    one_s, [one_grid] = timed(lambda: swept(encoder, [pair], pixels), repeats)
    batch = [contrast(seed) for seed in range(16)]
    batch_s, _ = timed(lambda: swept(encoder, batch, pixels), repeats)
    inner_s, _ = timed(lambda: swept(encoder, batch, pixels, *SITES[:3]), 1, warm_up=False)
    all_s, _ = timed(lambda: swept(encoder, batch, pixels, *SITES), 1, warm_up=False)
    text = encoder.model.config.text_config
    shape = {"blocks": text.num_hidden_layers, "width": text.hidden_size}
    limit_s, operations = limit_seconds(
        pairs=16, tokens=TOKENS, first=FIRST, repeats=repeats, **shape
    )
    logit = float(np.abs(nast_grid).max())
    return {
        "image_ms": image_s * 1e3,
        "nast_ms": nast_s * 1e3,
        "text_ms": text_s * 1e3,
        "one_pair_ms": one_s * 1e3,
        "sixteen_pairs_ms_a_pair": batch_s / 16 * 1e3,
        "over_nast_one_pair": nast_s / one_s,
        "over_text_one_pair": text_s / one_s,
        "over_nast_sixteen": nast_s / (batch_s / 16),
        "over_text_sixteen": text_s / (batch_s / 16),
        "over_text_one_pair_text_alone": (text_s - image_s) / (one_s - image_s),
        "over_text_sixteen_text_alone": (text_s - image_s) / ((batch_s - image_s) / 16),
        "limit_share_sixteen": limit_s / batch_s,
        "gflop_a_pair": operations / 16e9,
        "resid_attn_mlp_over_resid": inner_s / batch_s,
        "all_sites_over_resid": all_s / batch_s,
        "nast_gap_of_logit_float32": float(np.abs(one_grid - nast_grid).max()) / logit,
        "text_gap_of_logit_float32": float(np.abs(one_grid - text_grid).max()) / logit,
        **many,
        "ratio_gap_float64": parity(pixels),
    }


def main() -> None:
    """Measure, print, and write the figures with the machine they were measured on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--many", type=int, default=1000, help="pairs of 8 to 14 tokens")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        figures = measure(options.repeats, options.many)
    record({**machine(threads=options.threads), **figures}, options.out)


if __name__ == "__main__":
    main()
