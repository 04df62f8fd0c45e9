"""Options of the form `name=value`, for settings that have no option of their own."""

__all__ = ["settings"]

import json
from collections.abc import Sequence

from negtrace.errors import NegtraceError


def settings(options: Sequence[str]) -> dict[str, object]:
    """Return the values of `name=value` options by name.

    A value is read as JSON if it can be, otherwise as text.

    >>> settings(["samples=8", "bf16=true", "word=a"])
    {'samples': 8, 'bf16': True, 'word': 'a'}

    Raises:
        NegtraceError: for an option without a value.
    """
    values: dict[str, object] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise NegtraceError(f"the setting {option!r} has no value; write it as name=value")
        try:
            values[name] = json.loads(value)
        except json.JSONDecodeError:
            values[name] = value
    return values
