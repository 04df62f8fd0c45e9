"""Data sets: label files, claims and reports in; claim sets, negated captions and pairs out.

Begin with `build_dataset`. Readers of source files (`readers`, one for each layout) yield studies;
`compose` makes rows of a study in the words of its split (`wording`, `splits`). `claim_sets` reads
claim sets back. No patient and no statement is in two of the splits train, val and test.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
