"""The contextual negation data set: claim sets, negated captions and pairs, built from labels.

Sources are structured claims, label files and reports. Patients and statements are split between
train, val and test, so that neither is in two of them.
"""

__all__ = ["LAYOUTS", "SPLITS", "Card", "Config", "build_dataset", "read_card"]

from typing import TYPE_CHECKING

from negtrace.lazy import lazily

if TYPE_CHECKING:
    from negtrace.dataset.build import build_dataset
    from negtrace.dataset.card import Card, read_card
    from negtrace.dataset.config import LAYOUTS, Config
    from negtrace.dataset.splits import SPLITS

_HOMES = {
    "LAYOUTS": "negtrace.dataset.config",
    "SPLITS": "negtrace.dataset.splits",
    "Card": "negtrace.dataset.card",
    "Config": "negtrace.dataset.config",
    "build_dataset": "negtrace.dataset.build",
    "read_card": "negtrace.dataset.card",
}

__getattr__ = lazily(__name__, _HOMES)
