# For users.
# For the rooms that build on this one.
from .alignment import lay_out as lay_out
from .anchor import Anchor as Anchor
from .images import UNUSABLE as UNUSABLE
from .images import check_image as check_image
from .pair import Pair as Pair
from .pair import digest as digest
from .pair import read_pairs as read_pairs
from .pair import write_pairs as write_pairs
from .roles import ROLES as ROLES
from .roles import AlignmentError as AlignmentError
from .roles import token_roles as token_roles
from .sources import pairs_from as pairs_from
from .sources import phantom_pairs as phantom_pairs
from .sources import radiology_pairs as radiology_pairs
from .sources import valse_pair as valse_pair
from .tokens import Tokens as Tokens
