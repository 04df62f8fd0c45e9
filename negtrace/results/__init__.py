"""Results of a trace: raw scores, effects, layer scores, head grids and CTE JSON. NumPy only.

Begin with `CTE`, the raw scores of every pair and cell. `layer_scores` gives one weight per
block; `write_json` and `read_json` are the file that other trainers read.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
