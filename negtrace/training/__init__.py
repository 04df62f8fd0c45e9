"""Training: fine-tune an encoder so that each block moves as far as its multiplier says.

Begin with `FinetuneConfig`: its fields are all settings of a fine-tuning, and
`negtrace.selective_finetune` runs one. To use layer scores in your own trainer, begin with
`read_multipliers`, then `param_groups` (torch), `optimizers` or `gradient_scaling` (transformers),
`peft_patterns` (peft) or `write_multipliers` (CSV). The weightings, from `Scored` to `Front`, are
in `WEIGHTINGS`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
