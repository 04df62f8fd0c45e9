"""Whole studies in a folder: trace, heads, fine-tune before and after, train the phantom.

Begin with `selective_finetune`; the command line calls the functions of this room.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
