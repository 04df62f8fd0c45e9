"""Commands that trace a model."""

__all__ = ["Demo", "Heads", "Trace"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

from tyro.conf import OmitArgPrefixes, Suppress
from tyro.constructors import PrimitiveConstructorSpec

from negtrace.cli.models import CorrectedModel
from negtrace.cli.names import named
from negtrace.cli.printing import say, say_written
from negtrace.cli.settings import settings
from negtrace.plots.save import FORMATS, Format
from negtrace.results.options import DIRECTIONS, Direction
from negtrace.tracing.config import Queries, TraceConfig, TraceOptions
from negtrace.tracing.positions import MODES
from negtrace.tracing.processes import launched, meeting
from negtrace.tracing.shard import Shard

if TYPE_CHECKING:
    from negtrace.encoders.base import Encoder
    from negtrace.pairs.pair import Pair
    from negtrace.results.cte_json import Document

POSITIONS = PrimitiveConstructorSpec[Any](
    nargs="*",
    metavar="{" + ",".join(MODES) + ",ROLE [ROLE ...]}",
    instance_from_str=lambda words: words[0] if len(words) == 1 and words[0] in MODES else words,
    is_instance=lambda value: isinstance(value, str | list),
    str_from_instance=lambda value: [value] if isinstance(value, str) else list(value),
)
"""Reading of positions on the command line: one way to choose them, or roles by name."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Trace the bundled phantom on its own radiographs: heatmap, layer importance, CTE JSON."""

    out: Path = Path("negtrace-out")
    """Folder to write into."""
    pairs: int = 96
    """Number of synthetic radiographs, each with a true and a false statement."""
    seed: int = 0
    """Seed of the radiographs."""
    overwrite: bool = False
    """Start anew, and remove the trace that the folder holds."""

    def run(self) -> None:
        """Trace both directions, write the results, and print a summary."""
        from negtrace._files import require_writable
        from negtrace.encoders.load import load
        from negtrace.experiments.trace import run_trace
        from negtrace.pairs.phantom import phantom_pairs

        require_writable(self.out)
        pairs = phantom_pairs(n=self.pairs, seed=self.seed)
        documents = run_trace(load("phantom"), self.out, pairs, overwrite=self.overwrite)
        _report(documents, self.out)


@dataclass(frozen=True, kw_only=True)
class _Options(TraceConfig):
    """Settings of the corruption, of the patches, and of the way to compute scores."""

    # The fields of TraceConfig that a command line spells in another way. Their help is its.
    corruption: Annotated[str, named("negtrace.tracing:CORRUPTIONS")] = "swap"
    positions: Annotated[Any, POSITIONS] = "token"
    method: Annotated[str, named("negtrace.tracing:ENGINES")] = "exact"
    # These are options of the command itself.
    settings: Suppress[Any] = field(default_factory=dict)
    direction: Suppress[Any] = "denoising"


@dataclass(frozen=True, kw_only=True)
class _HeadOptions(_Options):
    """Settings of the corruption, of the patches, and of the way to compute scores."""

    positions: Annotated[Any, POSITIONS] = "all"
    sites: Suppress[Any] = ("head",)


@dataclass(frozen=True, kw_only=True)
class _Traced(CorrectedModel):
    """A model, and the pairs that it is traced on."""

    pairs: Path | None = None
    """JSONL of pairs; when not given, the built-in radiology pairs, anchored on text."""
    limit: int | None = None
    """Trace this many of the pairs, drawn so that conditions, findings and templates keep their
    shares; all when not given."""
    skip_bad: bool = False
    """Leave out lines of the pairs file that cannot be used, and count them."""
    set: tuple[str, ...] = ()
    """Settings of the corruption, such as samples=16 for noise. An unknown one is answered with
    those that it has."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    formats: tuple[Format, ...] = FORMATS
    """Formats of the figures."""
    overwrite: bool = False
    """Start anew, and remove what this command has written into the folder. Without it the same
    command goes on where it stopped, and another one is refused."""

    def _configured(self, config: TraceConfig, **changes: Unpack[TraceOptions]) -> TraceConfig:
        """Return the settings of the trace, after a check of all that needs no model."""
        from negtrace._files import require_writable

        require_writable(self.out)
        chosen: TraceOptions = {"settings": settings(self.set), **changes}
        return replace(config, **chosen)

    def _pairs(self, *, quiet: bool = False) -> "Sequence[Pair]":
        """Return `limit` pairs of the file, or of the built-in ones, and print what they are."""
        from negtrace.pairs.pair_file import pairs_of_file
        from negtrace.pairs.radiology import radiology_pairs
        from negtrace.pairs.sample import composition, sample

        on_error: Literal["skip", "raise"] = "skip" if self.skip_bad else "raise"
        pairs = pairs_of_file(self.pairs, on_error) if self.pairs else radiology_pairs()
        pairs = pairs if self.limit is None else sample(pairs, self.limit)
        if not quiet:
            say(composition(pairs))
        return pairs


@dataclass(frozen=True, kw_only=True)
class Trace(_Traced):
    """Trace a model: a built-in name, a Hugging Face folder or a hub name."""

    direction: Literal["both", "denoising", "noising"] = "both"
    """Restore the clean state in the corrupted run, put the corrupted state into the clean run, or
    both."""
    shard: str | None = None
    """Run one part of the trace alone, such as 2/8: the second of eight. The parts can run on
    several machines that see the folder. The same command without this option merges them."""
    estimate: bool = False
    """Say what the trace would take in arithmetic, time and memory, from a few of its batches;
    write nothing."""
    config: OmitArgPrefixes[_Options] = field(default_factory=_Options)

    def run(self) -> None:
        """Trace, write the results, and print a summary.

        Processes that a launcher such as torchrun starts share the work, and the first one writes
        the results.
        """
        shard = launched()
        if self.estimate:
            self._estimate()
        elif self.shard is not None:
            self._run_shard(Shard.named(self.shard), shard)
        elif shard is None:
            config, pairs = self._configured(self.config), self._pairs()
            self._run_whole(self.load(), pairs, config, overwrite=self.overwrite)
        else:
            with meeting() as wait:
                self._run_together(shard, wait)

    def _estimate(self) -> None:
        """Print what each direction would take."""
        from negtrace.tracing.cost import cost_of_trace

        pairs, encoder = self._pairs(), self.load()
        for direction in self._directions:
            cost = cost_of_trace(
                encoder, pairs, self.config, settings=settings(self.set), direction=direction
            )
            say(f"{direction}: {cost}")

    def _run_whole(
        self, encoder: "Encoder", pairs: "Sequence[Pair]", config: TraceConfig, *, overwrite: bool
    ) -> None:
        """Run or merge the trace, and report it."""
        from negtrace.experiments.trace import run_trace

        documents = run_trace(
            encoder,
            self.out,
            pairs,
            config,
            directions=self._directions,
            formats=self.formats,
            overwrite=overwrite,
        )
        _report(documents, self.out)

    def _run_shard(self, shard: Shard, launcher: Shard | None) -> None:
        """Run one part of the trace."""
        from negtrace.errors import TraceError
        from negtrace.experiments.trace import run_shard

        if launcher is not None or self.overwrite:
            other = "a launcher of several processes" if launcher else "--overwrite"
            raise TraceError(
                f"--shard {shard} together with {other}; a launcher chooses the shards itself, and "
                "--overwrite would remove the work of the other shards: name another folder"
            )
        config, pairs = self._configured(self.config), self._pairs()
        run_shard(
            self.load(),
            self.out,
            pairs,
            config,
            shard=shard,
            directions=self._directions,
        )
        say(f"shard {shard} is finished; without --shard the same command merges all of them")

    def _run_together(self, shard: Shard, wait: Callable[[], object]) -> None:
        """Run the shard of this process; the first process begins and ends for all."""
        from negtrace.experiments.trace import reserve_trace, run_shard

        first = shard.number == 1
        config, pairs = self._configured(self.config), self._pairs(quiet=not first)
        encoder = self.load()
        if first:
            reserve_trace(encoder, self.out, pairs, config, overwrite=self.overwrite)
        wait()
        run_shard(
            encoder,
            self.out,
            pairs,
            config,
            shard=shard,
            directions=self._directions,
            progress=None if first else False,
        )
        wait()
        if first:
            self._run_whole(encoder, pairs, config, overwrite=False)

    @property
    def _directions(self) -> tuple[str, ...]:
        return DIRECTIONS if self.direction == "both" else (self.direction,)


@dataclass(frozen=True, kw_only=True)
class Heads(_Traced):
    """Study a model's attention heads: causal effect and negator selectivity of each."""

    direction: Direction = "noising"
    """Restore the clean heads in the corrupted run, or put the corrupted heads into the clean
    run."""
    queries: Queries = "after_cue"
    """The tokens whose attention to the negator counts: those after it, or all others."""
    config: OmitArgPrefixes[_HeadOptions] = field(default_factory=_HeadOptions)

    def run(self) -> None:
        """Trace every head, measure its attention, write the results, and print a summary."""
        from negtrace.experiments.gallery import summary_of_heads
        from negtrace.experiments.trace import run_heads

        config = self._configured(self.config, direction=self.direction)
        pairs = self._pairs()
        study = run_heads(
            self.load(),
            self.out,
            pairs,
            config,
            queries=self.queries,
            formats=self.formats,
            overwrite=self.overwrite,
        )
        say(*summary_of_heads(study.effect, study.selectivity))
        if study.refused:
            say(f"no selectivity: {study.refused}")
        say_written(self.out, study.files)


def _report(documents: "Sequence[Document]", out: Path) -> None:
    from negtrace.experiments.gallery import summary

    for document in documents:
        say(*summary(document))
    say_written(out)
