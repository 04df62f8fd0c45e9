"""The engine: read a tower's states, replace one, run the rest, record what comes back."""

# A corruption is known by name once its module has been imported.
from negtrace.tracing import ablation as ablation
from negtrace.tracing import substitution as substitution
