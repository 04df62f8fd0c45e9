"""Path of the bundled checkpoint."""

__all__ = ["CHECKPOINT"]

from pathlib import Path

CHECKPOINT: Path = Path(__file__).parent / "checkpoint"
"""Folder with the weights of a `CLIPModel`, tokenizer, image processor and `training.json`."""
