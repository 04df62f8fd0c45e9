"""Settings given as `name=value`."""

__all__ = ["settings"]

import json
from collections.abc import Sequence

from negtrace.errors import NegtraceError


def settings(given: Sequence[str]) -> dict[str, object]:
    """Read `name=value`, numbers and truth values as such.

    >>> settings(["samples=8", "bf16=true", "word=a"])
    {'samples': 8, 'bf16': True, 'word': 'a'}

    Raises:
        NegtraceError: for a setting without a value.
    """
    found: dict[str, object] = {}
    for setting in given:
        name, there, value = setting.partition("=")
        if not there:
            raise NegtraceError(f"the setting {setting!r} has no value; write it as name=value")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found
