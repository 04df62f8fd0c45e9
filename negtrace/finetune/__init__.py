"""Fine-tuning that scales each block's update by its layer score, and its report."""

__all__ = ["WEIGHTINGS", "Config", "Finetuned", "Study", "selective_finetune"]

from typing import TYPE_CHECKING

from negtrace.lazy import lazily

if TYPE_CHECKING:
    from negtrace.finetune.config import Config
    from negtrace.finetune.report import Finetuned
    from negtrace.finetune.selective import selective_finetune
    from negtrace.finetune.study import Study
    from negtrace.weightings import WEIGHTINGS

_HOMES = {
    "WEIGHTINGS": "negtrace.weightings",
    "Config": "negtrace.finetune.config",
    "Finetuned": "negtrace.finetune.report",
    "Study": "negtrace.finetune.study",
    "selective_finetune": "negtrace.finetune.selective",
}

__getattr__ = lazily(__name__, _HOMES)
