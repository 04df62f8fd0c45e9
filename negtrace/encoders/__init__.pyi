# For users.
from .base import Encoder as Encoder
from .base import EncoderDescription as EncoderDescription
from .families import FAMILIES as FAMILIES
from .families import Family as Family
from .families import LoadRequest as LoadRequest
from .huggingface.prompt import Prompt as Prompt
from .load import load as load
from .options import LoadOptions as LoadOptions
from .wrap import WrapOptions as WrapOptions
from .wrap import wrap as wrap

# isort: split
# For the rooms that build on this one.
from .batching import batched as batched
from .batching import batches_by_length as batches_by_length
from .call_layout import recorded_calls as recorded_calls
from .check import CheckItem as CheckItem
from .check import CheckReport as CheckReport
from .check import check_structure as check_structure
from .check import require_no_bypass as require_no_bypass
from .completions import CompletionScorer as CompletionScorer
from .digests import settings_digest as settings_digest
from .hooks import Capture as Capture
from .hooks import Edit as Edit
from .hooks import HookSite as HookSite
from .hooks import captured as captured
from .hooks import edited as edited
from .hooks import evaluating as evaluating
from .hooks import forward_replaced as forward_replaced
from .hooks import hidden_of as hidden_of
from .hooks import hooks_in as hooks_in
from .hooks import input_edited as input_edited
from .hooks import widened as widened
from .hooks import with_hidden as with_hidden
from .huggingface.files import ModelFiles as ModelFiles
from .key_value_cache import KeyValueCache as KeyValueCache
from .key_value_cache import PrefixAttention as PrefixAttention
from .load import options_for as options_for
from .lora import attach as attach
from .lora import attached_adapters as attached_adapters
from .lora import require_adaptable as require_adaptable
from .lora import write_adapter as write_adapter
from .options import Dtype as Dtype
from .options import TextReadOut as TextReadOut
from .pooled import pooled as pooled
from .token_types import type_inputs as type_inputs
from .tokenizing import ReadOut as ReadOut
