"""Time the exact sweep against other toolkits', each in its own best documented way, in one run.

    pip install -c constraints.txt '.[interop]' && pip install --no-deps pyvene
    python benchmarks/peers.py --threads 1 --out benchmarks/results/peers.json

The model and the pairs are those of `sweep.py`: a CLIP of ViT-B/32 size with random weights, 12
tokens, the first difference at token 3, all 13 layers x 12 positions. The image is embedded within
every time. None of the peers has a class for CLIP's text tower, so:

* transformer_lens: `patching.get_act_patch_resid_pre` on the hooked encoder of
  `negtrace.tracing.engines`, and the last layer by `generic_activation_patch`; a forward a cell,
  in which all pairs share a batch;
* nnsight: `NNsight(model).trace`, cells in the rows of a batch, which is what its invokes come to
  (a plain module takes one only); pair by pair, as `negtrace.tracing.engines` does it;
* pyvene: the tower registered in its table of module types; a layer a call, with the positions
  (and pairs) in the rows.

A peer that is not installed is left out, and the table says so.
"""

import argparse
import contextlib
import io
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import machine, record
from sweep import FIRST, clip, contrast, swept, timed
from torch import Tensor, nn

from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.tracing.corruptions.contrast import Contrast
from negtrace.tracing.engines.hooked_encoder import HookedEncoder
from negtrace.tracing.engines.nnsight import NNsight
from negtrace.tracing.engines.sweep import Sweep

Peer = Callable[[DualEncoder, list[Contrast], Tensor], list[np.ndarray]]


def image_of(encoder: DualEncoder, pixels: Tensor) -> Tensor:
    """Return the embedding of the image, [1 dim]."""
    return encoder.model.get_image_features(pixel_values=pixels).pooler_output


def both_ids(pairs: Sequence[Contrast]) -> tuple[Tensor, Tensor]:
    """Return the token ids of the clean and of the corrupted runs, [pair token]."""
    return (
        torch.tensor([pair.clean.ids for pair in pairs]),
        torch.tensor([pair.corrupt.ids for pair in pairs]),
    )


def transformer_lens(
    encoder: DualEncoder, pairs: list[Contrast], pixels: Tensor
) -> list[np.ndarray]:
    """Sweep by `transformer_lens.patching`, noising."""
    from transformer_lens import patching

    hooked = HookedEncoder(encoder, image_of(encoder, pixels))
    clean, corrupt = both_ids(pairs)
    _, cache = hooked.run_with_cache(corrupt, lambda name: "resid" in name)
    last, scores = hooked.cfg.n_layers - 1, []

    def metric(found: Tensor) -> Tensor:
        scores.append(found.double())  # transformer_lens keeps single precision
        return found

    cells = patching.make_df_from_ranges([last + 1, clean.shape[1]], ["layer", "pos"])
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        patching.get_act_patch_resid_pre(hooked, clean, cache, metric, reduce="none")
        patching.generic_activation_patch(
            hooked,
            clean,
            cache,
            metric,
            patching.layer_pos_patch_setter,
            "resid_post",
            index_df=cells[cells["layer"] == last],
            reduce="none",
        )
    grid = torch.stack(scores).reshape(last + 2, clean.shape[1], len(pairs))
    return list(grid.permute(2, 0, 1).numpy())


def nnsight(encoder: DualEncoder, pairs: list[Contrast], pixels: Tensor) -> list[np.ndarray]:
    """Sweep by nnsight's traces, noising."""
    anchors = image_of(encoder, pixels).expand(len(pairs), -1)
    sweep = Sweep(
        encoder=encoder, contrasts=pairs, anchors=anchors, direction="noising", progress=False
    )
    return [one.patched[0] for one in sorted(NNsight().run(sweep), key=lambda one: one.index)]


class Tower(nn.Module):
    """The text tower as a module of its own, which pyvene is told about."""

    def __init__(self, encoder: DualEncoder) -> None:
        super().__init__()
        self.model = encoder.model
        self.config = encoder.model.config.text_config
        self.device = encoder.device
        self.encode = encoder.encode

    def forward(self, ids: Tensor) -> Tensor:
        """Return the embedding of each row."""
        return self.encode(ids)


def pyvene(encoder: DualEncoder, pairs: list[Contrast], pixels: Tensor) -> list[np.ndarray]:
    """Sweep by pyvene's interchange interventions, noising."""
    import pyvene
    from pyvene.models.constants import CONST_INPUT_HOOK, CONST_OUTPUT_HOOK

    path = f"model.{encoder.block_names[0].removesuffix('.0')}[%s]"
    places = {"block_input": (path, CONST_INPUT_HOOK), "block_output": (path, CONST_OUTPUT_HOOK)}
    pyvene.type_to_module_mapping[Tower] = places
    pyvene.type_to_dimension_mapping[Tower] = dict.fromkeys(places, ("hidden_size",))
    image, tower = image_of(encoder, pixels), Tower(encoder)
    clean, corrupt = both_ids(pairs)
    count = clean.shape[1]
    at = [[[position] for _ in pairs for position in range(count)]]
    rows = [{"ids": ids.repeat_interleave(count, 0)} for ids in (clean, corrupt)]
    layers = [(0, "block_input"), *((i, "block_output") for i in range(len(encoder.blocks)))]
    grid = []
    for layer, component in layers:
        place = {"layer": layer, "component": component, "unit": "pos", "max_number_of_units": 1}
        config = pyvene.IntervenableConfig([place], intervention_types=pyvene.VanillaIntervention)
        model = pyvene.IntervenableModel(config, tower)
        _, text = model(rows[0], [rows[1]], {"sources->base": (at, at)})
        grid.append(encoder.score(text, image.expand(len(text), -1)).reshape(len(pairs), count))
    return list(torch.stack(grid, dim=1).double().numpy())


PEERS: dict[str, Peer] = {
    "transformer_lens": transformer_lens,
    "nnsight": nnsight,
    "pyvene": pyvene,
}


def gap(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Return the largest difference of a score, in parts of the logit."""
    gaps = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(ours, theirs, strict=True)]
    return float(max(gaps))


def ratio_gap(peer: Peer, pixels: Tensor) -> float:
    """Return the largest difference of a ratio, in float64."""
    encoder, pair = clip(torch.float64), contrast(0)
    [ours], [theirs] = (f(encoder, [pair], pixels.double()) for f in (swept, peer))
    d = theirs[0, 0] - theirs[0, FIRST]
    return float(np.abs((ours - theirs) / d).max())


def measure(repeats: int, count: int) -> dict[str, dict[str, Any]]:
    """Return the figures of negtrace and of every peer that is installed."""
    encoder, pixels = clip(torch.float32), torch.randn(1, 3, 224, 224)
    pairs = [contrast(seed) for seed in range(count)]
    figures: dict[str, dict[str, Any]] = {}
    for name, peer in PEERS.items():
        if find_spec(name) is None:
            figures[name] = {"version": "not installed"}
            continue
        # Measured anew beside every peer: a machine's speed drifts.
        one_s, _ = timed(lambda: swept(encoder, pairs[:1], pixels), repeats)
        many_s, ours = timed(lambda: swept(encoder, pairs, pixels), repeats)
        alone_s, _ = timed(lambda peer=peer: peer(encoder, pairs[:1], pixels), repeats)
        batch_s, theirs = timed(
            lambda peer=peer: peer(encoder, pairs, pixels), repeats, warm_up=False
        )
        figures[name] = {
            "version": version(name),
            "one_pair_ms": alone_s * 1e3,
            "many_pairs_ms_a_pair": batch_s / count * 1e3,
            "negtrace_one_pair_ms": one_s * 1e3,
            "negtrace_many_pairs_ms_a_pair": many_s / count * 1e3,
            "over_one_pair": alone_s / one_s,
            "over_many_pairs": batch_s / many_s,
            "one_pair_over_negtraces_many": alone_s / (many_s / count),
            "gap_of_logit_float32": gap(ours, theirs),
            "ratio_gap_float64": ratio_gap(peer, pixels),
        }
    return figures


def main() -> None:
    """Measure, print, and write the figures with the machine they were measured on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=16, help="how many at once")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        figures = measure(options.repeats, options.pairs)
    about = {"pairs": options.pairs, "repeats": options.repeats, "figures": figures}
    record({**machine(threads=options.threads), **about}, options.out)


if __name__ == "__main__":
    main()
