"""Layer scores for other trainers: param groups, PEFT patterns, a Trainer's optimizer, a table.

Everything here takes multipliers by block name, as `read_scales` gives them from a CTE JSON, and
finds a module's weights by those names. A weight that is in no block keeps the plain rate.
"""

__all__ = [
    "blocks_of",
    "gradient_scaling",
    "optimizers",
    "param_groups",
    "peft_patterns",
    "read_scales",
    "sizes_of",
    "write_table",
]

from typing import TYPE_CHECKING

from negtrace.lazy import lazily

if TYPE_CHECKING:
    from negtrace.trainers.groups import (
        blocks_of,
        gradient_scaling,
        optimizers,
        param_groups,
        peft_patterns,
        read_scales,
        sizes_of,
        write_table,
    )

_HOMES = dict.fromkeys(__all__, "negtrace.trainers.groups")

__getattr__ = lazily(__name__, _HOMES)
