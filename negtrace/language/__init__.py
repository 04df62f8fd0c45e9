"""Sentences of clinical reports: what they say, and claims put into sentences.

Begin with `find_cues`, which finds the words that negate and how far each reaches, and with
`Claim`, one structured clinical fact. `parse_claims` reads claims from text.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
