"""JSON from files, which may be damaged or come from anywhere."""

__all__ = ["LEVELS", "LONGEST_NUMBER", "parse_json", "violation"]

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

LEVELS = 100
"""Most levels of lists and objects in JSON that is read."""

LONGEST_NUMBER = 100
"""Most characters of a number in JSON that is read."""

_HALF_CHARACTER = re.compile(r"\\u[dD][89abAB]")
"""Half of a character beyond U+FFFF, or the first half of one, as JSON writes it."""


def parse_json(data: bytes | str, *, foreign: bool = False) -> Any:
    """Return the value in a JSON text, which may come from anywhere and be damaged.

    Stricter than `json.loads`: the value can be walked through, compared, hashed and written again.

    >>> parse_json('{"a": [1, null]}')
    {'a': [1, None]}
    >>> parse_json("[NaN]")
    Traceback (most recent call last):
    ValueError: NaN is no number of JSON

    Args:
        data: the JSON text.
        foreign: take what other programs write: numbers that are not finite, and half characters.

    Raises:
        ValueError: for bytes that are not UTF-8, a text that is not JSON, more than 100 levels, a
            number that is not finite or has more than 100 characters, and half a character.
    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    try:
        value = (_foreign() if foreign else _strict()).decode(text)
    except RecursionError:
        raise ValueError(f"more than {LEVELS} levels of lists and objects") from None
    if text.count("[") + text.count("{") > LEVELS:
        _require_flat(value)
    decoded = isinstance(data, str) and not data.isascii()
    if not foreign and (decoded or _HALF_CHARACTER.search(text)):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("half of a character (a lone surrogate)") from error
    return value


@cache
def _foreign() -> json.JSONDecoder:
    return json.JSONDecoder(parse_int=_integer, parse_float=_float)


@cache
def _strict() -> json.JSONDecoder:
    return json.JSONDecoder(parse_int=_integer, parse_float=_finite, parse_constant=_no_constant)


def _integer(text: str) -> int:
    _require_short(text)
    return int(text)


def _float(text: str) -> float:
    _require_short(text)
    return float(text)


def _finite(text: str) -> float:
    if not math.isfinite(value := _float(text)):
        raise ValueError(f"{text} is too large for a number")
    return value


def _require_short(text: str) -> None:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} characters; expected {LONGEST_NUMBER} or fewer")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _require_flat(value: Any) -> None:
    """Raise a ValueError for lists and objects within each other at too many levels."""
    level = [value]
    for _ in range(LEVELS + 1):
        parts = (part for container in level for part in _parts(container))
        level = [part for part in parts if isinstance(part, dict | list)]
        if not level:
            return
    raise ValueError(f"more than {LEVELS} levels of lists and objects")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def violation(value: Any, schema: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return where and how a JSON value breaks a JSON Schema; None where it follows it.

    Unlike in JSON Schema, 3.0 is no integer.
    """
    from jsonschema.exceptions import best_match

    error = best_match(_validator_class()(schema).iter_errors(value))
    return None if error is None else (error.json_path, error.message)


@cache
def _validator_class() -> Any:
    import jsonschema

    base = jsonschema.Draft202012Validator
    types = base.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    return jsonschema.validators.extend(base, type_checker=types)
