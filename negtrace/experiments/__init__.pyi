# For users.
from .before_after import NO_EVALUATION as NO_EVALUATION
from .before_after import Evaluation as Evaluation
from .benchmark import run_benchmark as run_benchmark
from .curve import Curve as Curve
from .curve import interpolation_curve as interpolation_curve
from .finetune import selective_finetune as selective_finetune
from .finetune_report import Finetuned as Finetuned
from .trace import reserve_trace as reserve_trace
from .trace import run_heads as run_heads
from .trace import run_shard as run_shard
from .trace import run_trace as run_trace

# isort: split
# For the rooms that build on this one.
from .gallery import draw_documents as draw_documents
from .gallery import summary as summary
from .gallery import summary_of_heads as summary_of_heads
