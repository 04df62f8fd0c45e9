"""Correction of negation without training: a model whose embeddings of denials are corrected.

Begin with `corrected`. A correction is a class of its own in a module of its own: `reflection`
turns the model's affirmative judgement round, `projection` takes out the direction of what is
denied. `base` holds their contract and the registry.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
