# For users.
from .change import Change as Change
from .config import FinetuneConfig as FinetuneConfig
from .config import MultiplierOptions as MultiplierOptions
from .data import TRAINING_DATA as TRAINING_DATA
from .data import phantom_training_sets as phantom_training_sets
from .data import text_training_sets as text_training_sets
from .gradient_scaling import gradient_scaling as gradient_scaling
from .interpolation import interpolate as interpolate
from .multipliers import WEIGHTINGS as WEIGHTINGS
from .multipliers import Front as Front
from .multipliers import Inverted as Inverted
from .multipliers import Permuted as Permuted
from .multipliers import Scored as Scored
from .multipliers import Top as Top
from .multipliers import Uniform as Uniform
from .multipliers import Weighting as Weighting
from .multipliers import multipliers as multipliers
from .param_groups import param_groups as param_groups
from .param_groups import peft_patterns as peft_patterns
from .param_groups import read_multipliers as read_multipliers
from .param_groups import sizes_of as sizes_of
from .param_groups import write_multipliers as write_multipliers
from .texts import TRAINING_TEXTS as TRAINING_TEXTS
from .texts import finding_texts as finding_texts
from .trainer import optimizers as optimizers

# isort: split
# For the rooms that build on this one.
from .adapters import require_no_adapters as require_no_adapters
from .adapters import write_model as write_model
from .fit import BlockScores as BlockScores
from .fit import fit as fit
from .fit import require_trainable as require_trainable
from .material import Material as Material
from .material import material_for as material_for
from .multipliers import require_names as require_names
from .trainer import training_arguments as training_arguments
