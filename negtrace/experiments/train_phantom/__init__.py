"""Training of the bundled phantom: `python -m negtrace.experiments.train_phantom.train`."""
