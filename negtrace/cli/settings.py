"""Options of the form `name=value`, for settings that have no option of their own."""

__all__ = ["settings"]

from collections.abc import Sequence
from json import JSONDecodeError

from negtrace._json import parse_json
from negtrace._messages import excerpt
from negtrace.errors import NegtraceError


def settings(options: Sequence[str]) -> dict[str, object]:
    """Return the values of `name=value` options by name.

    A value is read as JSON if it can be, otherwise as text.

    >>> settings(["samples=8", "bf16=true", "word=a"])
    {'samples': 8, 'bf16': True, 'word': 'a'}

    Raises:
        NegtraceError: for an option without a value, or with JSON that cannot be used.
    """
    values: dict[str, object] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise NegtraceError(
                f"the setting {excerpt(option)} has no value; write it as name=value"
            )
        try:
            values[name] = parse_json(value)
        except JSONDecodeError:
            values[name] = value
        except ValueError as error:
            raise NegtraceError(
                f"the setting {excerpt(name)} has no usable value: {error}; to give it as a text, "
                "write it in double quotes"
            ) from error
    return values
