"""The folder of the bundled checkpoint."""

__all__ = ["CHECKPOINT"]

from pathlib import Path

CHECKPOINT: Path = Path(__file__).parent / "checkpoint"
"""The folder of the bundled model: `CLIPModel` weights, tokenizer, image processor, figures."""
