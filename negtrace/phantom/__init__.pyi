# For users.
from .bundled import CHECKPOINT as CHECKPOINT
from .patients import Patient as Patient
from .patients import draw_patient as draw_patient
from .reports import report as report

# isort: split
# For the rooms that build on this one.
from .bundled import TRAINED_ON as TRAINED_ON
from .contrasts import draw_contrasts as draw_contrasts
from .patients import HELD_OUT_SEEDS as HELD_OUT_SEEDS
from .patients import PHANTOM_FINDINGS as PHANTOM_FINDINGS
from .patients import TRAIN_SEEDS as TRAIN_SEEDS
from .patients import draw_patients as draw_patients
from .patients import patient_with as patient_with
from .patients import radiographs as radiographs
from .reports import NEGATING_REPORTS as NEGATING_REPORTS
from .reports import negation_shares as negation_shares
