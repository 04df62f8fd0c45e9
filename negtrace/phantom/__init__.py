"""Synthetic patients: radiographs drawn from claims, their reports, and the bundled checkpoint.

Nothing here comes from a patient and nothing here trains: `negtrace.experiments.train_phantom`
does. Begin with `patients`, which draws studies from a seed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
