"""Commands that trace a model."""

__all__ = ["Demo", "Heads", "Trace"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from negtrace.cli.models import Model
from negtrace.cli.printing import say, say_written
from negtrace.cli.settings import settings
from negtrace.plots.save import FORMATS, Format

if TYPE_CHECKING:
    from negtrace.pairs.pair import Pair
    from negtrace.results.cte_json import Document


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Trace the bundled phantom on its own radiographs: heatmap, layer importance, CTE JSON."""

    out: Path = Path("negtrace-out")
    """Folder to write into."""
    pairs: int = 96
    """How many synthetic radiographs, each with a true and a false statement."""
    seed: int = 0
    """Which radiographs."""

    def run(self) -> None:
        """Trace both directions and say what was found."""
        from negtrace._files import require_writable
        from negtrace.encoders.load import load
        from negtrace.experiments.trace import run
        from negtrace.pairs.phantom import phantom_pairs

        require_writable(self.out)
        pairs = phantom_pairs(n=self.pairs, seed=self.seed)
        _report(run(load("phantom"), self.out, pairs), self.out)


@dataclass(frozen=True, kw_only=True)
class Traced(Model):
    """What is traced: a model on pairs, its negation destroyed in some way."""

    pairs: Path | None = None
    """JSONL of pairs; the built-in radiology pairs, anchored on text, when not given."""
    limit: int | None = None
    """Trace about this many of the pairs, evenly spaced; all when not given."""
    skip_bad: bool = False
    """Leave out lines of the pairs file that cannot be used, and count them."""
    corruption: str = "swap"
    """How the negation is destroyed: swap, neutral, mask, mean, zero, noise or resample."""
    set: tuple[str, ...] = ()
    """Settings of the corruption: samples=16 multiple=3.0 seed=0 for noise, samples=8 seed=0 for
    resample, word=a for neutral."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    formats: tuple[Format, ...] = FORMATS
    """Formats of the figures."""

    def prepared(self) -> "list[Pair]":
        """Return the pairs, after what can be refused before the model is loaded."""
        from negtrace._files import require_writable
        from negtrace.tracing.corruptions.base import CORRUPTIONS

        require_writable(self.out)
        _ = CORRUPTIONS[self.corruption]
        return _pairs(self.pairs, self.limit, skip_bad=self.skip_bad)


@dataclass(frozen=True, kw_only=True)
class Trace(Traced):
    """Trace a model: a built-in name, a Hugging Face folder or a hub name."""

    direction: Literal["both", "denoising", "noising"] = "both"
    """Restore the clean state in the corrupted run, inject the corrupted one, or both."""
    sites: tuple[str, ...] = ("resid",)
    """What is patched: resid, resid_pre, attn_out, mlp_out, head (all of them), head.3."""
    positions: tuple[str, ...] = ("token",)
    """What is patched at once: token, role, all, or some roles by name."""
    window: int = 1
    """Layers patched at once; more than one makes peaks higher."""
    method: Literal["exact", "attribution", "integrated_gradients"] = "exact"
    """Run every cell, or estimate all of them by gradients (an approximation, and marked so)."""
    steps: int = 8
    """Gradients averaged by integrated_gradients."""
    verify: int = 0
    """How many of the largest estimates, and as many random ones, to run exactly."""
    include_text: bool = False
    """Keep the statements in what is written; reports may be patients'."""

    def run(self) -> None:
        """Trace, write and say what was found."""
        from negtrace.experiments.trace import run
        from negtrace.tracing.engines.exact import DIRECTIONS

        pairs, corrupted = self.prepared(), settings(self.set)
        documents = run(
            self.load(),
            self.out,
            pairs,
            directions=DIRECTIONS if self.direction == "both" else (self.direction,),
            corruption=self.corruption,
            settings=corrupted,
            sites=self.sites,
            positions=_positions(self.positions),
            window=self.window,
            method=self.method,
            steps=self.steps,
            verify=self.verify,
            include_text=self.include_text,
            formats=self.formats,
        )
        _report(documents, self.out)


@dataclass(frozen=True, kw_only=True)
class Heads(Traced):
    """Study a model's attention heads: causal effect and negator selectivity of each."""

    direction: Literal["denoising", "noising"] = "noising"
    """Restore the clean heads in the corrupted run, or inject the corrupted ones."""
    positions: tuple[str, ...] = ("all",)
    """What of a head is patched at once: all, token (effects are added up), or roles by name."""
    queries: Literal["later", "other"] = "later"
    """Which tokens' attention to the negator counts: those behind it, or all others."""

    def run(self) -> None:
        """Trace every head, look at its attention, write and say what was found."""
        from negtrace.experiments.gallery import summary_of_heads
        from negtrace.experiments.trace import run_heads

        pairs, corrupted = self.prepared(), settings(self.set)
        found = run_heads(
            self.load(),
            self.out,
            pairs,
            direction=self.direction,
            corruption=self.corruption,
            settings=corrupted,
            positions=_positions(self.positions),
            queries=self.queries,
            formats=self.formats,
        )
        say(*summary_of_heads(found.effect, found.selectivity))
        if found.refused:
            say(f"no selectivity: {found.refused}")
        say_written(self.out, found.files)


def _pairs(path: Path | None, limit: int | None, *, skip_bad: bool) -> "list[Pair]":
    """Return the pairs of a file, or the built-in ones, about `limit` of them, evenly spaced."""
    from negtrace.pairs.jsonl import read_pairs
    from negtrace.pairs.radiology import radiology_pairs

    on_error: Literal["skip", "raise"] = "skip" if skip_bad else "raise"
    pairs = read_pairs(path, on_error=on_error) if path else radiology_pairs()
    return pairs[:: -(-len(pairs) // limit) if limit else 1]


def _positions(given: Sequence[str]) -> str | Sequence[str]:
    """Return the one way to choose positions, or roles by name."""
    alone = len(given) == 1 and given[0] in ("token", "role", "all")
    return given[0] if alone else given


def _report(documents: "Sequence[Document]", out: Path) -> None:
    from negtrace.experiments.gallery import summary

    for document in documents:
        say(*summary(document))
    say_written(out)
