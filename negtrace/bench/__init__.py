"""Benchmark suites: questions about negation, put to a model and counted.

Begin with `run`, which runs a suite on a model and returns a `Report`. Each report names chance and
shows baselines beside the model, such as a scorer that sees the statements alone, so that a
shortcut through the words is visible. To add a suite, register a function in `SUITES`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
