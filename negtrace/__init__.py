"""See where a text encoder processes negation: causal tracing for vision-language models."""

import lazy_loader

from negtrace.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
