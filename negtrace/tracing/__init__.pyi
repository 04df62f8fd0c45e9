# For users.
# For the rooms that build on this one.
from .corruptions.base import CORRUPTIONS as CORRUPTIONS
from .corruptions.base import Corruption as Corruption
from .engines.exact import DIRECTIONS as DIRECTIONS
from .engines.exact import Direction as Direction
from .positions import Positions as Positions
from .selectivity import head_selectivity as head_selectivity
from .trace import trace as trace
