"""The engine: read a tower's states, replace one, run the rest, record what comes back."""
