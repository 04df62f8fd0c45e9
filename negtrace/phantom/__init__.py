"""Synthetic patients: radiographs drawn from claims, their reports, and the bundled checkpoint.

Begin with `draw_patient`, which makes a patient of a seed, and `report`, which words its findings.
Nothing here comes from a real patient. `negtrace.experiments.train_phantom` trains the model.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
