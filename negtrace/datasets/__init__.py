"""Data sets: label files and reports in; claim sets, negated captions and pairs out.

Begin with `build_dataset`. Patients and statements are split between train, val and test, so
that neither is in two of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
