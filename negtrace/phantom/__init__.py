"""The phantom: synthetic chest radiographs, their reports, and a small CLIP trained on them.

Nothing here comes from a patient. The model sees well and negates badly, as real ones do.
"""

__all__ = ["CHECKPOINT"]

from pathlib import Path

CHECKPOINT: Path = Path(__file__).parent / "checkpoint"
"""The folder of the bundled model: `CLIPModel` weights, tokenizer, image processor, figures."""
