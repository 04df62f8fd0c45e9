"""The command line: a thin table of frozen configs; the fields' docs are the help text."""

__all__ = ["COMMANDS", "main"]

import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from tyro.conf import Positional

import negtrace
from negtrace.errors import NegtraceError, NegtraceWarning, TraceError

if TYPE_CHECKING:
    from pandas import DataFrame

    from negtrace.export import Document
    from negtrace.pairs import Pair

# Everything heavy is imported by the command that needs it: `--help` must answer at once.

Format = Literal["png", "svg", "pdf"]


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
        from negtrace.experiment import run
        from negtrace.loading import load
        from negtrace.pair_sources import phantom_pairs
        from negtrace.schema.files import require_writable

        require_writable(self.out)
        pairs = phantom_pairs(n=self.pairs, seed=self.seed)
        _report(run(load("phantom"), self.out, pairs), self.out)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Trace a model: a built-in name, a Hugging Face folder or a hub name."""

    model: Positional[str]
    """`phantom`, `toy`, a folder, or a name on the hub."""
    pairs: Path | None = None
    """JSONL of pairs; the built-in radiology pairs, anchored on text, when not given."""
    limit: int | None = None
    """Trace about this many of the pairs, evenly spaced; all when not given."""
    name: str | None = None
    """What to call the model in results; the folder's or the hub's name when not given."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    direction: Literal["both", "denoising", "noising"] = "both"
    """Restore the clean state in the corrupted run, inject the corrupted one, or both."""
    corruption: str = "swap"
    """How the negation is destroyed: swap, neutral, mask, mean, zero, noise or resample."""
    set: tuple[str, ...] = ()
    """Settings of the corruption: samples=16 multiple=3.0 seed=0 for noise, samples=8 seed=0 for
    resample, word=a for neutral."""
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
    read_out: Literal["cls", "mean", "pooler"] | None = None
    """Where a text encoder's embedding is read; a sentence-transformers folder says its own."""
    revision: str | None = None
    """Revision of a model on the hub."""
    device: str = "cpu"
    """Where to run."""
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    """Precision to run in."""
    formats: tuple[Format, ...] = ("png", "svg", "pdf")
    """Formats of the figures."""
    include_text: bool = False
    """Keep the statements in what is written; reports may be patients'."""
    skip_bad: bool = False
    """Leave out lines of the pairs file that cannot be used, and count them."""
    trust_remote_code: bool = False
    """Run code that comes with the model."""

    def run(self) -> None:
        """Trace, write and say what was found."""
        from negtrace.experiment import run
        from negtrace.loading import load
        from negtrace.schema.files import require_writable
        from negtrace.tracing.corruption import CORRUPTIONS
        from negtrace.tracing.sweep import DIRECTIONS

        require_writable(self.out)
        _ = CORRUPTIONS[self.corruption]
        settings = _settings(self.set)
        pairs = _pairs(self.pairs, self.limit, skip_bad=self.skip_bad)
        encoder = load(
            self.model,
            name=self.name,
            read_out=self.read_out,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            trust_remote_code=self.trust_remote_code,
        )
        _report(
            run(
                encoder,
                self.out,
                pairs,
                directions=DIRECTIONS if self.direction == "both" else (self.direction,),
                corruption=self.corruption,
                settings=settings,
                sites=self.sites,
                positions=_positions(self.positions),
                window=self.window,
                method=self.method,
                steps=self.steps,
                verify=self.verify,
                include_text=self.include_text,
                formats=self.formats,
            ),
            self.out,
        )


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Study a model's attention heads: causal effect and negator selectivity of each."""

    model: Positional[str]
    """`phantom`, a folder, or a name on the hub."""
    pairs: Path | None = None
    """JSONL of pairs; the built-in radiology pairs, anchored on text, when not given."""
    limit: int | None = None
    """Use about this many of the pairs, evenly spaced; all when not given."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    direction: Literal["denoising", "noising"] = "noising"
    """Restore the clean heads in the corrupted run, or inject the corrupted ones."""
    formats: tuple[Format, ...] = ("png", "svg", "pdf")
    """Formats of the figure."""

    def run(self) -> None:
        """Trace every head, look at its attention, write and say what was found."""
        from negtrace.experiment import run_heads
        from negtrace.gallery import summary_of_heads
        from negtrace.loading import load
        from negtrace.schema.files import require_writable

        require_writable(self.out)
        pairs = _pairs(self.pairs, self.limit)
        found = run_heads(
            load(self.model), self.out, pairs, direction=self.direction, formats=self.formats
        )
        _say(*summary_of_heads(found.effect, found.selectivity))
        _say(f"written to {self.out}: {', '.join(sorted(path.name for path in found.files))}")


@dataclass(frozen=True, kw_only=True)
class Cues:
    """Find the negation cues of a file, line by line or in a column."""

    file: Positional[Path]
    """Text, CSV, TSV or JSONL."""
    column: str | None = None
    """Column or field that holds the text."""
    include_text: bool = False
    """Show the cues' words too; reports may be patients'."""

    def run(self) -> None:
        """Print a line of JSON for each cue."""
        from dataclasses import asdict

        from negtrace.language.cue_files import cue_rows

        for row in cue_rows(self.file, column=self.column, include_text=self.include_text):
            _say(json.dumps(asdict(row), ensure_ascii=False))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Ask models what statements deny: polarity, claims, retrieval, collapse, negbench."""

    models: Positional[tuple[str, ...]] = ("phantom",)
    """One model, or several to compare in one figure."""
    suite: Literal["polarity", "claims", "retrieval", "collapse", "negbench"] = "polarity"
    """What is asked."""
    data: str | None = None
    """`phantom`, `text`, or a file: CheXpert-style CSV, claim sets (JSONL), NegBench CSV, VALSE."""
    images: Path | None = None
    """Folder that the image paths of the data start from."""
    count: int = 600
    """Questions, claim sets or statements."""
    seed: int = 0
    """Which ones."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    include_text: bool = False
    """Keep statements and paths in what is written; they may be patients'."""

    def run(self) -> None:
        """Ask, write the reports and the figure, and say where they are."""
        from negtrace import bench
        from negtrace.loading import load
        from negtrace.schema.files import require_writable

        require_writable(self.out)
        config = bench.Config(
            suite=self.suite,
            data=self.data,
            images=self.images,
            count=self.count,
            seed=self.seed,
            include_text=self.include_text,
        )
        bench.run([load(model) for model in self.models], config, out=self.out)
        _say(
            f"written to {self.out}: {', '.join(sorted(path.name for path in self.out.iterdir()))}"
        )


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw the heatmap and layer importance of CTE JSON files, without the model."""

    cte: Positional[tuple[Path, ...]]
    """One CTE JSON, or two of both directions to draw side by side."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    formats: tuple[Format, ...] = ("png", "svg", "pdf")
    """Formats of the figures."""

    def run(self) -> None:
        """Read and draw."""
        from negtrace.errors import CTEError
        from negtrace.export import read_json
        from negtrace.gallery import draw

        if len(self.cte) > 2:
            raise CTEError(f"{len(self.cte)} files; expected one, or two of both directions")
        documents = [read_json(path) for path in self.cte]
        _say(*draw(documents, self.out, self.formats))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Print the layer scores in a CTE JSON as a table."""

    cte: Positional[Path]
    """A CTE JSON."""
    method: str | None = None
    """One method: nast, std, cue or transport; all of them when not given."""
    csv: Path | None = None
    """Write the table here as CSV too."""

    def run(self) -> None:
        """Read and print."""
        import pandas as pd

        from negtrace.errors import UnknownNameError
        from negtrace.export import read_json

        stored = read_json(self.cte).scores
        known = sorted({one.method for one in stored})
        if self.method not in (None, *known):
            raise UnknownNameError(
                f"{self.cte} holds no layer scores {self.method!r}; it holds: {', '.join(known)}"
            )
        chosen = [one for one in stored if self.method in (None, one.method)]
        table = pd.concat([one.to_dataframe() for one in chosen], ignore_index=True)
        shown = table[["method", "condition", "layer", "score", "low", "high", "alpha"]]
        shown = shown.fillna({"condition": "all"})
        _say(shown.to_string(index=False, float_format="{:.3f}".format))
        _say(*(f"{one.method} ({one.condition or 'all'}): {one.note}" for one in chosen))
        if self.csv:
            _write_csv(table, self.csv)


@dataclass(frozen=True, kw_only=True)
class Check:
    """Check that a model can be traced: blocks, states, and that it comes back untouched."""

    model: Positional[str]
    """`phantom`, `toy`, a folder, or a name on the hub."""
    read_out: Literal["cls", "mean", "pooler"] | None = None
    """Where a text encoder's embedding is read."""
    revision: str | None = None
    """Revision of a model on the hub."""

    def run(self) -> None:
        """Print each item; fail when one does not hold."""
        from negtrace.encoders.check import check
        from negtrace.loading import load

        encoder = load(self.model, read_out=self.read_out, revision=self.revision, self_check=False)
        found = check(encoder)
        _say(found)
        found.require()


@dataclass(frozen=True, kw_only=True)
class MakePairs:
    """Write pairs as JSONL: `radiology`, `phantom`, or `valse` from its JSON file."""

    source: Positional[str]
    """Which source."""
    out: Path = Path("pairs.jsonl")
    """File to write."""
    file: Path | None = None
    """The file a source reads (valse)."""
    n: int = 96
    """How many, where a source makes them (phantom)."""
    seed: int = 0
    """Which ones, where a source makes them (phantom)."""

    def run(self) -> None:
        """Make and write."""
        from negtrace.pair_sources import pairs_from
        from negtrace.pairs import write_pairs

        pairs = pairs_from(self.source, file=self.file, n=self.n, seed=self.seed)
        write_pairs(pairs, self.out)
        _say(f"{len(pairs)} pairs in {self.out}")


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the models, corruptions and layer scores that go by a name."""

    def run(self) -> None:
        """Print them."""
        from negtrace.loading import BUILT_IN
        from negtrace.scores import METHODS
        from negtrace.tracing.corruption import CORRUPTIONS

        for name in BUILT_IN:
            _say(f"{name:10} {BUILT_IN[name].__doc__}")
        _say(
            "FOLDER     a Hugging Face dual encoder (CLIP, SigLIP) or text encoder (BERT)",
            "HUB/NAME   the same, from the hub",
            f"corruptions: {', '.join(CORRUPTIONS)}",
            f"layer scores: {', '.join(METHODS)}",
        )


COMMANDS = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Trace, tyro.conf.subcommand("trace")]
    | Annotated[Heads, tyro.conf.subcommand("heads")]
    | Annotated[Cues, tyro.conf.subcommand("cues")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Plot, tyro.conf.subcommand("plot")]
    | Annotated[Scores, tyro.conf.subcommand("scores")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[MakePairs, tyro.conf.subcommand("pairs")]
    | Annotated[Models, tyro.conf.subcommand("models")]
)


def _settings(given: Sequence[str]) -> dict[str, object]:
    """Read `name=value` settings, numbers as numbers."""
    settings: dict[str, object] = {}
    for setting in given:
        name, found, value = setting.partition("=")
        if not found:
            raise TraceError(f"the setting {setting!r} has no value; write it as name=value")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings


def _pairs(path: Path | None, limit: int | None, *, skip_bad: bool = False) -> "list[Pair]":
    """Return the pairs of a file, or the built-in ones, about `limit` of them, evenly spaced."""
    from negtrace.pair_sources import radiology_pairs
    from negtrace.pairs import read_pairs

    on_error: Literal["skip", "raise"] = "skip" if skip_bad else "raise"
    pairs = read_pairs(path, on_error=on_error) if path else radiology_pairs()
    return pairs[:: -(-len(pairs) // limit) if limit else 1]


def _positions(given: Sequence[str]) -> str | Sequence[str]:
    """Return the one way to choose positions, or roles by name."""
    alone = len(given) == 1 and given[0] in ("token", "role", "all")
    return given[0] if alone else given


def _say(*lines: object) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _report(documents: "Sequence[Document]", out: Path) -> None:
    from negtrace.gallery import summary

    for document in documents:
        _say(*summary(document))
    _say(f"written to {out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


def _write_csv(table: "DataFrame", path: Path) -> None:
    from negtrace.schema.files import write_bytes

    write_bytes(path, table.to_csv(index=False).encode())


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"negtrace: warning: {message}\n")


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; return 1 after an error that negtrace raised on purpose."""
    command = tyro.cli(COMMANDS, prog="negtrace", args=args, description=negtrace.__doc__)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", NegtraceWarning)
            warnings.showwarning = _show_warning
            command.run()
    except NegtraceError as error:
        sys.stderr.write(f"negtrace: {error}\n")
        return 1
    return 0
