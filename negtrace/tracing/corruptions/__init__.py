"""Corruptions: ways to destroy the negation, each turning a pair into clean and corrupted runs."""

# A corruption is known by name once its module has been imported.
from negtrace.tracing.corruptions import ablation as ablation
from negtrace.tracing.corruptions import substitution as substitution
