"""Frozen configs whose fields may also be given as keyword settings."""

__all__ = ["with_settings"]

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from negtrace._messages import one_of

Config = TypeVar("Config")


def with_settings(config: Config, settings: Mapping[str, Any], kind: str) -> Config:
    """Return a copy of a frozen config with some of its fields changed.

    Args:
        config: an instance of a frozen dataclass.
        settings: new values by the names of fields.
        kind: what a field is called in messages, such as "option of load".

    Raises:
        UnknownNameError: for a setting that is not a field; it lists the fields.
    """
    known = [field.name for field in fields(config)]  # type: ignore[arg-type]
    for name in settings:
        one_of(kind, name, known)
    return replace(config, **settings)  # type: ignore[type-var]
