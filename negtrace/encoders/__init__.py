"""Encoders: a model behind one contract, which tokenizes, embeds, scores and names its sites.

Begin with `load` for a model folder or a name, and with `wrap` for any other module. `Encoder` is
the contract; `check` tests an encoder.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
