"""Special: what a class needs besides the sizes that its fields are known by, one line each.

`...` leaves a field as it is.
"""

__all__ = ["SPECIAL"]

from typing import Any

SPECIAL: dict[str, dict[str, Any]] = {}
