# For users.
from .anchor import Anchor as Anchor
from .differences import Differences as Differences
from .differences import differences as differences
from .differences import differences_note as differences_note
from .jsonl import read_pairs as read_pairs
from .jsonl import write_pairs as write_pairs
from .pair import Pair as Pair
from .phantom import phantom_pairs as phantom_pairs
from .radiology import radiology_pairs as radiology_pairs
from .sample import Composition as Composition
from .sample import composition as composition
from .sample import sample as sample
from .sources import SOURCES as SOURCES
from .sources import PairSource as PairSource
from .sources import pairs_from as pairs_from
from .valse import valse_pairs as valse_pairs

# isort: split
# For the rooms that build on this one.
from .alignment import Correspondence as Correspondence
from .alignment import align as align
from .images import UNUSABLE as UNUSABLE
from .images import check_image as check_image
from .jsonl import anchor_as_json as anchor_as_json
from .pair import as_sequence as as_sequence
from .pair import ordered_digest as ordered_digest
from .pair import pairs_digest as pairs_digest
from .pair import public_ids as public_ids
from .pair import with_public_ids as with_public_ids
from .pair_file import pairs_of_file as pairs_of_file
from .roles import ROLES as ROLES
from .roles import token_roles as token_roles
from .tokens import Tokens as Tokens
from .valse import ValseRow as ValseRow
from .valse import read_valse_rows as read_valse_rows
