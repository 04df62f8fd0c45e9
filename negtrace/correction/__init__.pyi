# For users.
from .base import CORRECTIONS as CORRECTIONS
from .base import NEUTRAL as NEUTRAL
from .base import Correct as Correct
from .base import Correction as Correction
from .corrected import Corrected as Corrected
from .corrected import corrected as corrected
from .projection import Projection as Projection
from .reflection import Reflection as Reflection

# isort: split
# For the rooms that build on this one.
from .base import correction_named as correction_named
