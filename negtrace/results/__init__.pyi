# For users.
from .cte import CTE as CTE
from .cte_json import read_json as read_json
from .cte_json import write_json as write_json
from .heads import head_effect as head_effect
from .layer_scores import LAYER_SCORES as LAYER_SCORES
from .layer_scores import all_layer_scores as all_layer_scores
from .layer_scores import layer_scores as layer_scores
from .layer_scores import register_layer_score as register_layer_score
from .options import ReduceOptions as ReduceOptions
from .statistics import AGGREGATES as AGGREGATES

# isort: split
# For the rooms that build on this one.
from .cte_json import Document as Document
from .effect import Effect as Effect
from .effect import Reduction as Reduction
from .heads import Head as Head
from .heads import HeadEffect as HeadEffect
from .heads import HeadGrid as HeadGrid
from .heads import HeadSelectivity as HeadSelectivity
from .heads import selectivity_of as selectivity_of
from .intervals import MIN_GROUPS as MIN_GROUPS
from .intervals import MIN_PAIRS as MIN_PAIRS
from .intervals import share_interval as share_interval
from .intervals import studentised as studentised
from .layer_scores import LayerScores as LayerScores
from .options import DIRECTIONS as DIRECTIONS
from .options import Direction as Direction
from .options import Resampling as Resampling
from .provenance import Dropped as Dropped
from .provenance import Provenance as Provenance
from .provenance import dropped_pair as dropped_pair
from .run_folder import RunFolder as RunFolder
from .run_folder import require_same as require_same
from .significance import ALPHA as ALPHA
from .statistics import rank_of_correct as rank_of_correct
from .statistics import resample as resample
from .statistics import spearman as spearman
