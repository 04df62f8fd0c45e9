"""Damaged files: each reader names the file and says what to do about it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from damage import DAMAGES, JSON_DAMAGES, Damage
from golden.results import golden

from negtrace._files import pack, unpack, write_bytes
from negtrace.bench.report import Report, read_report, write_report
from negtrace.datasets.card import Card, read_card
from negtrace.datasets.folder import DatasetFolder
from negtrace.encoders.base import Encoder
from negtrace.encoders.load import load
from negtrace.encoders.lora import attach, merge_adapter, write_adapter
from negtrace.errors import (
    BenchError,
    CTEError,
    DatasetError,
    EncoderError,
    NegtraceError,
    OutputError,
)
from negtrace.results.cte import CTE
from negtrace.results.cte_json import read_json, write_json
from negtrace.results.run_folder import RunFolder
from negtrace.tracing.checkpoint import Checkpoint


@dataclass(frozen=True)
class Kind:
    """A kind of file that negtrace writes and reads again."""

    make: Callable[[Path], Path]
    """Writes a good file into a folder, and returns its path."""
    read: Callable[[Path], Any]
    error: type[NegtraceError]
    way_out: str
    """Pattern of what the message tells the user to do."""
    damages: dict[str, Damage]


def header_damages(damages: dict[str, Damage]) -> dict[str, Damage]:
    """Return damages to the JSON header of a raw file."""

    def of_header(damage: Damage) -> Damage:
        def damaged(data: bytes) -> bytes:
            from safetensors.numpy import save

            arrays, header = unpack(data)
            text = damage(json.dumps(header).encode()).decode("utf-8", "replace")
            return bytes(save(arrays, metadata={"negtrace": text}))

        return damaged

    return {f"header: {name}": of_header(damage) for name, damage in damages.items()}


def without(key: str) -> Damage:
    """Return a damage to a JSON object, which then lacks a key."""

    def damaged(data: bytes) -> bytes:
        value = json.loads(data)
        del value[key]
        return json.dumps(value).encode()

    return damaged


def version(number: Any) -> Damage:
    """Return a damage to a JSON object, which then is of another version."""
    return lambda data: json.dumps({**json.loads(data), "version": number}).encode()


VERSIONS: dict[str, Damage] = {
    f"version {number}": version(number) for number in (0, 1_000, "2", None, [[]])
}


def cte_json(folder: Path) -> Path:
    return write_json(golden(), folder / "a.json")


def raw_without_revision(data: bytes) -> bytes:
    arrays, header = unpack(data)
    del header["provenance"]["revision"]
    return pack(arrays, header)


KINDS: dict[str, Kind] = {
    "CTE JSON": Kind(
        make=cte_json,
        read=read_json,
        error=CTEError,
        way_out="restore it, or write it again|pass a file of write_json|upgrade negtrace",
        damages={**DAMAGES, **JSON_DAMAGES, **VERSIONS, "no checksum": without("checksum")},
    ),
    "CTE JSON, for its raw file": Kind(
        make=cte_json,
        read=CTE.load,
        error=CTEError,
        way_out="pass a file of write_json",
        damages={**DAMAGES, **JSON_DAMAGES, "no raw": without("raw")},
    ),
    "raw file": Kind(
        make=lambda folder: golden().save(folder / "a.safetensors"),
        read=CTE.load,
        error=CTEError,
        way_out="restore the file, or trace again|upgrade negtrace",
        damages={
            **DAMAGES,
            **header_damages({**DAMAGES, **JSON_DAMAGES, **VERSIONS}),
            **header_damages(
                {f"no {key}": without(key) for key in ("ids", "provenance", "window")}
            ),
            "no revision": raw_without_revision,
        },
    ),
}

REPORT = Report(
    suite="polarity",
    model=dict.fromkeys(("name", "family", "revision", "weights_digest", "tokenizer", "unit"), "a"),
    data={"name": "a", "anchors": "text", "digest": "b", "items": 1},
    config={"seed": 0},
    rows=(),
    made={"package_version": "1", "time": "2026"},
)


def run_json(folder: Path) -> Path:
    RunFolder(folder, "trace").reserve({"config": {"seed": 1}}, [])
    (folder / "denoising.json").touch()
    return folder / "run.json"


def go_on(path: Path) -> None:
    RunFolder(path.parent, "trace").require({"config": {"seed": 1}}, ["denoising.json"])


IDENTITY = {
    "version": "1",
    "config": {"seed": 0},
    "key": "a",
    "sources": [{"source": 1, "layout": "claims", "digest": "b"}],
}


def card_json(folder: Path) -> Path:
    card = Card(identity=IDENTITY, counts={"records/read": 2}, examples={}, files={})
    return write_bytes(folder / "card.json", card.as_json())


def unfinished(folder: Path) -> Path:
    """Leave a data set with two rows unfinished, and return the folder of its parts."""
    with DatasetFolder(folder, ["pairs-train.jsonl"], IDENTITY) as data_set:
        for row in range(2):
            data_set.write("pairs-train.jsonl", b'{"id": "%d", "true": "no effusion"}\n' % row)
            assert data_set.is_new(row, "study", str(row))
        data_set.checkpoint(2)
    return folder / ".partial"


def build_on(path: Path) -> None:
    with DatasetFolder(path.parents[1], ["pairs-train.jsonl"], IDENTITY) as data_set:
        assert data_set.progress.done == 2
        assert not data_set.is_new(2, "study", "1")


@cache
def phantom() -> Encoder:
    return load("phantom")


@cache
def adapter_files() -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        attached = attach(phantom(), rank=1, alpha=1.0)
        write_adapter(attached, Path(folder), base="phantom")
        attached.take_off(merged=False)
        return {path.name: path.read_bytes() for path in Path(folder).glob("adapter_*")}


def adapter(folder: Path) -> Path:
    for name, data in adapter_files().items():
        (folder / name).write_bytes(data)
    return folder


def merge(path: Path) -> None:
    merge_adapter(phantom().model, path.parent)


def checkpoint(folder: Path) -> Path:
    path = folder / "denoising.partial"
    with Checkpoint.held(path, {"config": {"seed": 1}}):
        pass
    return path


def trace_on(path: Path) -> None:
    with Checkpoint.held(path, {"config": {"seed": 1}}):
        pass


def record_damages(damages: dict[str, Damage]) -> dict[str, Damage]:
    """Return damages to the first record of a checkpoint, written with its checksum."""

    def of_record(damage: Damage) -> Damage:
        def damaged(data: bytes) -> bytes:
            record = damage(data[40:])
            return len(record).to_bytes(8, "big") + hashlib.sha256(record).digest() + record

        return damaged

    return {f"record: {name}": of_record(damage) for name, damage in damages.items()}


def but(damages: dict[str, Damage], *names: str) -> dict[str, Damage]:
    """Return damages without some."""
    return {name: damage for name, damage in damages.items() if name not in names}


KINDS |= {
    "benchmark report": Kind(
        make=lambda folder: write_report(REPORT, folder / "bench.json"),
        read=read_report,
        error=BenchError,
        way_out="restore it, or run|give a file of negtrace bench|Read it with the negtrace that",
        damages={**DAMAGES, **JSON_DAMAGES, **VERSIONS, "no rows": without("rows")},
    ),
    "run.json": Kind(
        make=run_json,
        read=go_on,
        error=OutputError,
        way_out="name another folder, or overwrite it",
        damages={**DAMAGES, **JSON_DAMAGES, "no trace": without("trace")},
    ),
    "data card": Kind(
        make=card_json,
        read=read_card,
        error=DatasetError,
        way_out="give a data set's folder",
        damages={**DAMAGES, **JSON_DAMAGES, "no counts": without("counts")},
    ),
    "data card of a folder": Kind(
        make=card_json,
        read=lambda path: DatasetFolder(path.parent, [], IDENTITY).card(),
        error=OutputError,
        way_out="name another folder, or overwrite it",
        damages={**DAMAGES, **JSON_DAMAGES, "no identity": without("identity")},
    ),
    "progress of a data set": Kind(
        make=lambda folder: unfinished(folder) / "progress.json",
        read=build_on,
        error=OutputError,
        way_out="delete .*partial to start anew",
        damages={**DAMAGES, **JSON_DAMAGES, "no checksum": without("checksum")},
    ),
    "rows of a data set": Kind(
        make=lambda folder: unfinished(folder) / "pairs-train.jsonl",
        read=build_on,
        error=OutputError,
        way_out="delete .*partial to start anew",
        damages=DAMAGES,
    ),
    "studies of a data set": Kind(
        make=lambda folder: unfinished(folder) / "studies.sqlite",
        read=build_on,
        error=OutputError,
        way_out="delete .*partial to start anew",
        damages=but(DAMAGES, "last bytes lost"),  # they are padding
    ),
    "adapter's configuration": Kind(
        make=lambda folder: adapter(folder) / "adapter_config.json",
        read=lambda path: load(str(path.parent)),
        error=EncoderError,
        way_out="save or download the adapter again|merge_adapter",
        damages={**DAMAGES, **JSON_DAMAGES},
    ),
    "adapter's configuration, merged": Kind(
        make=lambda folder: adapter(folder) / "adapter_config.json",
        read=merge,
        error=EncoderError,
        way_out="save or download the adapter again|expected LORA",
        damages={
            **but({**DAMAGES, **JSON_DAMAGES}, "NaN", "Infinity", "1e999", "half a character"),
            "another kind": lambda data: data.replace(b'"LORA"', b'"NONE"'),
            "rank of a text": lambda data: data.replace(b'"r": 1', b'"r": "x"'),
        },
    ),
    "adapter's weights": Kind(
        make=lambda folder: adapter(folder) / "adapter_model.safetensors",
        read=merge,
        error=EncoderError,
        way_out="save or download the adapter again",
        damages=but(DAMAGES, "end NUL"),  # the format has no checksum of the numbers
    ),
    "checkpoint": Kind(
        make=checkpoint,
        read=trace_on,
        error=OutputError,
        way_out="name another file, or delete the file to start anew",
        damages={
            **but(DAMAGES, "empty"),
            **record_damages({**but(DAMAGES, "UTF-16"), **JSON_DAMAGES}),
        },
    ),
}

CASES = [(kind, damage) for kind, about in KINDS.items() for damage in about.damages]


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_is_read(kind: str, tmp_path: Path) -> None:
    KINDS[kind].read(KINDS[kind].make(tmp_path))


@pytest.mark.parametrize(("kind", "damage"), CASES)
def test_a_damaged_file_is_named_with_the_way_out(kind: str, damage: str, tmp_path: Path) -> None:
    about = KINDS[kind]
    path = about.make(tmp_path)
    path.write_bytes(about.damages[damage](path.read_bytes()))
    with pytest.raises(about.error, match=about.way_out) as caught:
        about.read(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert len(message) < 700
