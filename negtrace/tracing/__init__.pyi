# For users.
from .check import check as check
from .config import TraceConfig as TraceConfig
from .corruptions.base import CORRUPTIONS as CORRUPTIONS
from .corruptions.base import Corruption as Corruption
from .corruptions.contrast import contrast_at_cue as contrast_at_cue
from .corruptions.contrast import cue_positions as cue_positions
from .corruptions.seeding import generator_for as generator_for
from .cost import Cost as Cost
from .cost import cost_of_trace as cost_of_trace
from .engines.base import ENGINES as ENGINES
from .engines.base import Engine as Engine
from .engines.bridge import from_bridge as from_bridge
from .engines.hooked_encoder import as_hooked as as_hooked
from .engines.nnsight import NNsight as NNsight
from .engines.sweep import ContrastScores as ContrastScores
from .engines.sweep import Sweep as Sweep
from .selectivity import head_selectivity as head_selectivity
from .shard import Shard as Shard
from .trace import trace as trace
from .trace import trace_shard as trace_shard

# isort: split
# For the rooms that build on this one.
from .begun import require_possible as require_possible
from .config import QUERIES as QUERIES
from .config import Queries as Queries
from .config import TraceOptions as TraceOptions
from .engines.cells import layer_sites as layer_sites
from .positions import MODES as MODES
from .processes import launched as launched
from .processes import meeting as meeting
from .shard import shard_files as shard_files
