# For users.
# For the rooms that build on this one.
from .change import Change as Change
from .config import FinetuneConfig as FinetuneConfig
from .data import training_sets as training_sets
from .data import usable as usable
from .fit import Scored as Scored
from .fit import fit as fit
from .multipliers import WEIGHTINGS as WEIGHTINGS
from .multipliers import require_names as require_names
from .param_groups import blocks_of as blocks_of
from .param_groups import gradient_scaling as gradient_scaling
from .param_groups import optimizers as optimizers
from .param_groups import param_groups as param_groups
from .param_groups import peft_patterns as peft_patterns
from .param_groups import read_scales as read_scales
from .param_groups import sizes_of as sizes_of
from .param_groups import write_table as write_table
from .trainer import arguments as arguments
