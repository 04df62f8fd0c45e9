# For users.
from .claims import Claim as Claim
from .claims import check_claim as check_claim
from .counterfactuals import contradictions as contradictions
from .counterfactuals import counterfactuals as counterfactuals
from .counterfactuals import deny as deny
from .cues import Cue as Cue
from .cues import find_cues as find_cues
from .cues import read_cues as read_cues
from .findings import VOCABULARY as VOCABULARY
from .lexicon import load_lexicon as load_lexicon
from .negation import decide as decide
from .negation import is_negated as is_negated
from .negation import negation_of as negation_of
from .parse import parse_claim as parse_claim
from .parse import parse_claims as parse_claims
from .twins import claim_twins as claim_twins
from .wording import equivalents as equivalents
from .wording import statement as statement
from .wording import statements as statements

# isort: split
# For the rooms that build on this one.
from .claims import CERTAINTIES as CERTAINTIES
from .claims import SEVERITIES as SEVERITIES
from .claims import SIDES as SIDES
from .claims import ZONES as ZONES
from .claims import Side as Side
from .claims import attribute_words as attribute_words
from .counterfactuals import ASPECTS as ASPECTS
from .cues import subject_of as subject_of
from .cues import subject_span as subject_span
from .findings import FINDINGS as FINDINGS
from .findings import Finding as Finding
from .findings import plural_of as plural_of
from .parse import read_sentence as read_sentence
from .parse import sentence_spans as sentence_spans
from .twins import finding_twins as finding_twins
from .usage import usage_of as usage_of
from .wording import AbsenceWording as AbsenceWording
from .wording import affirmative_sentence as affirmative_sentence
from .wording import caption as caption
from .wording import list_of_claims as list_of_claims
from .wording import phrase as phrase
from .wording import phrasings as phrasings
from .wording import realize as realize
from .wording import sentence as sentence
from .words import Span as Span
