"""Tracing: corrupt the negation, patch one state at a time, record what each patch does.

Begin with `trace`. `corruptions` holds the ways to destroy the negation, `engines` the ways to
compute the patched scores.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
