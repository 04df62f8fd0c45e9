"""Fuzzing: whatever a file holds, its reader gives a value or raises a NegtraceError."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from damage import changed, damaged_json, torn
from golden.results import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from negtrace._files import canonical, pack, sha256, unpack
from negtrace.errors import NegtraceError, NegtraceWarning
from negtrace.results.cte import CTE
from negtrace.results.cte_json import read_json

SEEDS = 50
"""Draws of hypothesis for each reader. They are the same in every run."""


@dataclass(frozen=True)
class Reader:
    """A reader, the name of its file, damaged contents, and how many of them each seed gives."""

    file: str
    read: Callable[[Path], Any]
    damaged: Callable[[Random], bytes]
    inputs: int = 30


@cache
def golden_document() -> Any:
    document = json.loads(GOLDEN.read_bytes())
    for name in ("effects", "layer_scores"):
        document[name] = document[name][:1]
    return document


def cte_json(rng: Random) -> bytes:
    document = golden_document()
    if rng.random() < 0.5:
        return damaged_json(rng, document)
    # The checksum fits, so that what lies behind it is reached too.
    document = changed(rng, document)
    if isinstance(document, dict):
        try:
            document["checksum"] = sha256(canonical({**document, "checksum": 0}))
            rest = {name: value for name, value in document.items() if name != "checksum"}
            document["checksum"] = sha256(canonical(rest))
        except ValueError:
            pass
    return json.dumps(document).encode()


def raw(rng: Random) -> bytes:
    data = GOLDEN.with_suffix(".safetensors").read_bytes()
    if rng.random() < 0.3:
        return torn(rng, data)
    arrays, header = unpack(data)
    if rng.random() < 0.3:
        name = rng.choice(list(arrays))
        array = arrays.pop(name)
        kind = rng.randrange(5)
        if kind < 3:
            arrays[name] = (array[..., None], array[..., :1], array.astype("float16"))[kind]
        elif kind == 3:
            arrays[name] = array.reshape(-1)[:1].reshape(())
        return pack(arrays, header)
    return safetensors(arrays, damaged_json(rng, header))


def safetensors(arrays: Any, header: bytes) -> bytes:
    """Return a raw file whose header need not be JSON."""
    from safetensors.numpy import save

    return bytes(save(arrays, metadata={"negtrace": header.decode("utf-8", "replace")}))


READERS: dict[str, Reader] = {
    "CTE JSON": Reader("a.json", read_json, cte_json, 15),
    "raw file": Reader("a.safetensors", CTE.load, raw),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_gives_a_value_or_a_negtrace_error(name: str) -> None:
    reader = READERS[name]
    with TemporaryDirectory() as folder:
        path = Path(folder) / reader.file

        @settings(max_examples=SEEDS, derandomize=True, deadline=None, database=None)
        @given(st.integers(0, 2**32 - 1))
        def run(seed: int) -> None:
            rng = Random(seed)  # noqa: S311
            for _ in range(reader.inputs):
                path.write_bytes(data := reader.damaged(rng))
                try:
                    reader.read(path)
                except NegtraceError:
                    pass
                except Exception as error:
                    error.add_note(f"{name}: {data[:3000]!r}")
                    raise

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NegtraceWarning)
            run()
