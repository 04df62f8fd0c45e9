"""Checks of a CTE JSON before it is read: its form, version, schema and checksum."""

__all__ = ["SCHEMA", "VERSION", "cte_document", "schema"]

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from negtrace._files import canonical, sha256
from negtrace._json import parse_json, violation
from negtrace._messages import excerpt
from negtrace.errors import CTEError

SCHEMA = "negtrace.cte"
VERSION = 2

WAY_OUT = "restore it, or write it again from its raw file: write_json(CTE.load(raw), path)"


def schema() -> dict[str, Any]:
    """Return the published JSON Schema of this version."""
    return dict(json.loads(files("negtrace.results").joinpath("cte-2.schema.json").read_bytes()))


def cte_document(path: Path, data: bytes) -> dict[str, Any]:
    """Return the content of a CTE JSON.

    Raises:
        CTEError: when `data` is not JSON, no CTE JSON, of another version, against the schema, or
            changed since it was written.
    """
    try:
        content = parse_json(data)
    except ValueError as error:
        raise CTEError(f"{path} is not JSON: {error}; {WAY_OUT}") from error
    _check_version(path, content)
    _check_schema(path, content)
    _check_sum(path, content)
    return dict(content)


def _check_version(path: Path, content: Any) -> None:
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise CTEError(
            f'{path} is no CTE JSON: it lacks "schema": "{SCHEMA}"; pass a file of write_json'
        )
    version = content.get("version")
    if version == VERSION and isinstance(version, int) and not isinstance(version, bool):
        return
    advice = "no such version; pass a file of write_json"
    if isinstance(version, int) and not isinstance(version, bool) and version > 0:
        older = "it is older; write it again from its raw file: write_json(CTE.load(raw), path)"
        newer = "it is newer than this negtrace; upgrade negtrace"
        advice = older if version < VERSION else newer
    raise CTEError(
        f"{path} has version {excerpt(version)}, this negtrace reads {VERSION}: {advice}"
    )


def _check_schema(path: Path, content: dict[str, Any]) -> None:
    if broken := violation(content, schema()):
        place, reason = broken
        raise CTEError(
            f"{path} does not follow version {VERSION} at {place}: {reason[:200]}; {WAY_OUT}"
        )


def _check_sum(path: Path, content: dict[str, Any]) -> None:
    rest = {name: value for name, value in content.items() if name != "checksum"}
    if sha256(canonical(rest)) != content["checksum"]:
        raise CTEError(
            f"the document {path} has changed since it was written (its checksum is "
            f"{content['checksum']}, its content's {sha256(canonical(rest))}); {WAY_OUT}"
        )
