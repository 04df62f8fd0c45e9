"""Pairs: a true and a false statement about one anchor, exactly one of them negated.

Begin with `Pair` and `Anchor`. `read_pairs` and `write_pairs` use JSONL files, and `SOURCES` names
ready-made pairs. `roles`, `matching` and `alignment` give each token a role and find the tokens of
the two statements that correspond.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
