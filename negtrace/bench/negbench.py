"""NegBench suite: NegBench's multiple choice or retrieval CSV, or VALSE existence.

The right statements of these files are of several kinds, some much more frequent than others. So
accuracy is also reported by kind, and balanced over the kinds. `place as filed` is the accuracy of
always choosing the most frequent position of the file, before the options are shuffled.
"""

__all__ = ["negbench_suite"]

from dataclasses import replace
from pathlib import Path

from negtrace.bench.cases import require_images
from negtrace.bench.config import BenchConfig
from negtrace.bench.multiple_choice import answer_items
from negtrace.bench.question_files import read_choices, read_valse
from negtrace.bench.result import SuiteResult
from negtrace.bench.retrieval import retrieve_from_file
from negtrace.bench.suites import SUITES
from negtrace.datasets.readers.files import read_table
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError


@SUITES.register("negbench")
def negbench_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """NegBench's multiple choice or retrieval CSV, or VALSE existence."""
    if config.data is None:
        raise BenchError("the suite 'negbench' reads a file; give NegBench's CSV or VALSE's JSON")
    path = Path(config.data)
    if config.images is not None:
        require_images(encoder)
    if path.suffix == ".json":
        file = read_valse(path, images=config.images, seed=config.seed)
    elif "captions" in read_table(path).columns:
        return retrieve_from_file(encoder, path, config)
    else:
        file = read_choices(path, images=config.images, anchors=config.anchors, seed=config.seed)
    result = answer_items(
        encoder,
        file.items[: config.count],
        config,
        name=path.name,
        axes=("template",),
        balance="template",
        notes=file.notes,
    )
    position = file.accuracy_of_position
    row = replace(
        result.rows[0], scorer="place as filed", estimate=position, low=position, high=position
    )
    return replace(result, rows=(*result.rows, row))
