"""Damaged files: each reader names the file and says what to do about it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from damage import DAMAGES, JSON_DAMAGES, Damage
from golden.results import golden

from negtrace._files import pack, unpack
from negtrace.errors import CTEError, NegtraceError
from negtrace.results.cte import CTE
from negtrace.results.cte_json import read_json, write_json


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

CASES = [(kind, damage) for kind, about in KINDS.items() for damage in about.damages]


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_is_read(kind: str, tmp_path: Path) -> None:
    KINDS[kind].read(KINDS[kind].make(tmp_path))


@pytest.mark.parametrize(("kind", "damage"), CASES, ids=" / ".join)
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
