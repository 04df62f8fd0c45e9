"""Training: each block moves as far as its multiplier says.

Begin with `FinetuneConfig`. `param_groups`, `peft_patterns` and `optimizers` take the multipliers
into other trainers.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
