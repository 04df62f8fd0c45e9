"""Benchmark suites: questions about negation, put to a model and counted.

Begin with `run`. Every suite names chance and puts a scorer that sees the statements alone beside
the model, so that a shortcut shows.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
