"""Parquet files with the rows of a data set's JSONL files, written a block at a time."""

__all__ = ["write_parquet"]

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from negtrace.errors import require

ROWS = 10_000
"""Rows in a block."""


def write_parquet(source: Path, path: Path) -> None:
    """Write the rows of `claims-*.jsonl`, `captions-*.jsonl` or `pairs-*.jsonl` as Parquet.

    Raises:
        ExtraError: when pyarrow is not installed; it names the pip extra.
    """
    pa, pq = (require(name, extra="parquet") for name in ("pyarrow", "pyarrow.parquet"))
    schema = pa.schema(_fields(pa)[source.name.partition("-")[0]])
    with pq.ParquetWriter(path, schema) as writer:
        for rows in _blocks(source):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _fields(pa: Any) -> dict[str, list[Any]]:
    text, span = pa.string(), pa.list_(pa.int64(), 2)
    anchor = ("anchor", pa.struct([("image", text), ("text", text)]))
    wrong = pa.list_(pa.struct([("text", text), ("attribute", text), ("finding", text)]))
    common = [("finding", text), ("patient", text), ("source", text)]
    return {
        "claims": [
            ("id", text),
            anchor,
            ("right", text),
            ("wrong", wrong),
            ("answer", pa.int64()),
            ("present", pa.bool_()),
            *common,
        ],
        "captions": [
            ("id", text),
            anchor,
            ("caption", text),
            ("cue", span),
            ("denied", text),
            *common,
        ],
        "pairs": [
            ("id", text),
            ("true", text),
            ("false", text),
            anchor,
            ("subject", text),
            ("negated", text),
            ("cue", span),
            ("tags", pa.struct(common)),
        ],
    }


def _blocks(source: Path) -> Iterator[list[dict[str, Any]]]:
    with source.open(encoding="utf-8") as file:
        while rows := [json.loads(line) for line in islice(file, ROWS)]:
            yield rows
