"""Path of the bundled checkpoint."""

__all__ = ["CHECKPOINT", "TRAINED_ON"]

from pathlib import Path

CHECKPOINT: Path = Path(__file__).parent / "checkpoint"
"""Folder with the weights of a `CLIPModel`, tokenizer, image processor and `training.json`."""

TRAINED_ON = "the negtrace phantom"
"""Value of `trained_on` in the config.json of a model that was trained on the phantom's data."""
