# For users.
from .build import build_dataset as build_dataset
from .card import Card as Card
from .card import read_card as read_card
from .claim_sets import ClaimSet as ClaimSet
from .claim_sets import read_claim_sets as read_claim_sets
from .claim_sets import write_claim_sets as write_claim_sets
from .complements import read_complements as read_complements
from .config import DatasetConfig as DatasetConfig
from .note import Note as Note
from .readers.base import LAYOUTS as LAYOUTS
from .readers.base import Layout as Layout
from .readers.files import json_objects as json_objects
from .readers.files import open_table as open_table
from .study import Study as Study
from .study import finding_named as finding_named

# isort: split
# For the rooms that build on this one.
from .claim_sets import wrongs as wrongs
from .config import AUTO as AUTO
from .note import NOWHERE as NOWHERE
from .note import Origin as Origin
from .note import image_note as image_note
from .readers.base import layout_of as layout_of
from .readers.chexpert import LabelRow as LabelRow
from .readers.chexpert import open_label_file as open_label_file
from .readers.files import Record as Record
from .readers.files import Table as Table
from .readers.files import read_table as read_table
from .splits import SPLITS as SPLITS
