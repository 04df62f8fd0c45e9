# For users.
from .bundled import CHECKPOINT as CHECKPOINT

# For the rooms that build on this one.
from .contrasts import contrasts as contrasts
from .patients import HELD_OUT as HELD_OUT
from .patients import PHANTOM_FINDINGS as PHANTOM_FINDINGS
from .patients import TRAIN as TRAIN
from .patients import Study as Study
from .patients import cohort as cohort
from .patients import images as images
from .patients import patient_with as patient_with
from .patients import study as study
from .reports import EQUIVALENT_RATE as EQUIVALENT_RATE
from .reports import NEGATED_SHARE as NEGATED_SHARE
from .reports import NEGATING_REPORTS as NEGATING_REPORTS
from .reports import negates as negates
from .reports import report as report
from .retrieval import gallery as gallery
