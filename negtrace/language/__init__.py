"""Language of clinical reports: what a sentence denies, and claims read from and put into words.

Begin with `find_cues`, which finds the words that negate and what each of them negates, and with
`Claim`, one structured clinical fact. `parse_claims` reads claims from a text; `statement` puts a
claim into words. `complements` are denials of everyday English and the affirmative sentences equal
to them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
