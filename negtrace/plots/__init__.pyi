# For users.
from .heads import head_heatmap as head_heatmap
from .heads import heads_side_by_side as heads_side_by_side
from .heatmaps import both_directions as both_directions
from .heatmaps import heatmap as heatmap
from .layers import importance_grid as importance_grid
from .layers import layer_importance as layer_importance
from .registry import PLOTS as PLOTS
from .save import save_figure as save_figure

# isort: split
# For the rooms that build on this one.
from .bench import bench_figure as bench_figure
from .save import FORMATS as FORMATS
from .save import Format as Format
from .save import require_formats as require_formats
from .training import before_after_figure as before_after_figure
from .training import change_figure as change_figure
from .training import change_table as change_table
from .training import curve_figure as curve_figure
