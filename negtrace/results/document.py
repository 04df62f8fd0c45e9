"""The CTE JSON as text: its published schema, its layout, and what is verified on reading."""

__all__ = ["SCHEMA", "VERSION", "pretty", "schema", "verified"]

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema

from negtrace._files import canonical, sha256
from negtrace.errors import CTEError

SCHEMA = "negtrace.cte"
VERSION = 1


def pretty(document: Mapping[str, Any]) -> bytes:
    """The file of `document`: indented, with rows of numbers on one line."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    # Rows of numbers on one line; a bare newline occurs outside strings only.
    rows = re.sub(
        r'\[\n[^\[\]{}"]*\]', lambda row: "[" + " ".join(row[0][1:-1].split()) + "]", text
    )
    return (rows + "\n").encode()


def schema() -> dict[str, Any]:
    """The published JSON Schema of version 1."""
    text = files("negtrace.results").joinpath("cte-1.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def verified(path: Path, data: bytes) -> dict[str, Any]:
    """The document in `data`, of a version, form and checksum that hold; `path` is for messages.

    Raises:
        CTEError: when they do not.
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        raise CTEError(f"{path} is not JSON: {error}") from error
    _check_version(path, document)
    _check_schema(path, document)
    _check_sum(path, document)
    return dict(document)


def _check_version(path: Path, document: Any) -> None:
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise CTEError(f'{path} is no CTE JSON: it lacks "schema": "{SCHEMA}"')
    version = document.get("version")
    if version == VERSION and isinstance(version, int) and not isinstance(version, bool):
        return
    newer = isinstance(version, int) and version > VERSION
    advice = "it is newer than this negtrace; upgrade negtrace" if newer else "no such version"
    raise CTEError(f"{path} has version {version!r}, this negtrace reads {VERSION}: {advice}")


def _check_schema(path: Path, document: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is not None:
        raise CTEError(
            f"{path} does not follow version {VERSION} at {error.json_path}: {error.message[:200]}"
        )


def _check_sum(path: Path, document: dict[str, Any]) -> None:
    rest = {name: value for name, value in document.items() if name != "checksum"}
    if sha256(canonical(rest)) != document["checksum"]:
        raise CTEError(
            f"the document {path} has changed since it was written (its checksum is "
            f"{document['checksum']}, its content's {sha256(canonical(rest))}); restore it, or "
            "write it again from its raw file: write_json(CTE.load(raw), path)"
        )
