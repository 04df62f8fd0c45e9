"""Encoders: text towers behind one contract, which tokenize, embed, score and name their sites.

Begin with `load` for a name or a folder, and with `wrap` for any other module. `Encoder` is the
contract, and `check` tests that an encoder keeps it. `FAMILIES` holds the kinds of models that
`load` recognises; add your own with a `Family`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
