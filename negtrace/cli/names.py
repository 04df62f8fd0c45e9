"""Options whose value is a name in a registry: their help lists the names."""

__all__ = ["named"]

from importlib import import_module
from typing import Any

import tyro


def named(registry: str) -> Any:
    """Annotation of an option whose value is a name in a registry, as in
    `weighting: Annotated[str, named("negtrace.training:WEIGHTINGS")] = "scored"`.

    The help of the option ends with the known names. The registry is imported when that help is
    printed, so that nothing else waits for it.

    Args:
        registry: the room and the public name of the registry, with a colon between them.
    """

    def known(default: str) -> str:
        room, _, name = registry.partition(":")
        names = ", ".join(getattr(import_module(room), name))
        return f"(known: {names}; default: {default})"

    return tyro.conf.arg(help_behavior_hint=known)
