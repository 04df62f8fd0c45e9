"""Figures: contents are computed as a table first, then drawn on matplotlib axes.

Begin with `heatmap` and `layer_importance`. Plots need results alone, never a model.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
