"""Pairs: a true and a false statement about one anchor, exactly one of them negated.

Begin with `Pair` and `Anchor`. `read_pairs` and `write_pairs` are the JSONL files; the other
modules align the tokens of the two statements and give each token a role.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
