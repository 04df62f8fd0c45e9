# For users.
from .build import build_dataset as build_dataset
from .card import Card as Card
from .card import read_card as read_card
from .claim_sets import ClaimSet as ClaimSet
from .claim_sets import read_claim_sets as read_claim_sets

# For the rooms that build on this one.
from .claim_sets import wrongs as wrongs
from .config import LAYOUTS as LAYOUTS
from .config import Config as Config
from .note import NOWHERE as NOWHERE
from .note import Note as Note
from .note import Origin as Origin
from .note import image_note as image_note
from .readers.csv import garbled as garbled
from .readers.csv import judge as judge
from .readers.csv import stream as stream
from .readers.labels import BESIDE as BESIDE
from .readers.labels import CHEXPERT as CHEXPERT
from .readers.labels import VALUES as VALUES
from .readers.labels import label as label
from .readers.labels import study_of as study_of
from .splits import SPLITS as SPLITS
