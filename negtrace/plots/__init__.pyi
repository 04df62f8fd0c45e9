# For users.
# For the rooms that build on this one.
from .bench import draw as draw
from .cells import draw_cells as draw_cells
from .cells import draw_colour_bar as draw_colour_bar
from .cells import name_columns as name_columns
from .heads import head_heatmap as head_heatmap
from .heads import heads_side_by_side as heads_side_by_side
from .heatmaps import both_directions as both_directions
from .heatmaps import heatmap as heatmap
from .heatmaps import heatmap_figure as heatmap_figure
from .heatmaps import importance_grid as importance_grid
from .heatmaps import layer_importance as layer_importance
from .heatmaps import save_figure as save_figure
from .layout import LARGE as LARGE
from .layout import MEDIUM as MEDIUM
from .layout import heatmap_size as heatmap_size
from .tables import heatmap_table as heatmap_table
