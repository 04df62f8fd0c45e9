"""Fine-tuning that scales each block's update by its layer score, and its report."""

__all__ = ["WEIGHTINGS", "Config", "Finetuned", "Study", "selective_finetune"]

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from negtrace.finetune.config import Config
    from negtrace.finetune.report import Finetuned
    from negtrace.finetune.scales import WEIGHTINGS
    from negtrace.finetune.selective import selective_finetune
    from negtrace.finetune.study import Study

_HOMES = {
    "WEIGHTINGS": "negtrace.finetune.scales",
    "Config": "negtrace.finetune.config",
    "Finetuned": "negtrace.finetune.report",
    "Study": "negtrace.finetune.study",
    "selective_finetune": "negtrace.finetune.selective",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: multipliers need no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'negtrace.finetune' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
