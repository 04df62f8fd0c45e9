"""Routes: ways to run patched rows, from the fastest to the plainest.

Each route is exact for some architectures. `agreement` compares them with plain forwards and takes
the fastest that gives the same scores.
"""

__all__ = ["FASTEST", "PLAIN", "ROUTES", "Route"]

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Route:
    """A way to run patched rows.

    Each switch saves work, and needs more of the architecture than the one below it.
    """

    name: str
    last_query: bool = False
    """The last block runs the position that is read out alone."""
    tail: bool = False
    """A row runs only its tokens from the first patched position on (causal towers)."""
    from_layer: bool = False
    """A row starts at the layer that it patches."""
    batched: bool = True
    """Many rows run in one forward."""


ROUTES = (
    Route(name="tail, last query", last_query=True, tail=True, from_layer=True),
    Route(name="tail", tail=True, from_layer=True),
    Route(name="from the layer", from_layer=True),
    Route(name="whole rows"),
    Route(name="one by one", batched=False),
)
"""All routes, the fastest first."""

FASTEST, PLAIN = ROUTES[0], ROUTES[-1]
