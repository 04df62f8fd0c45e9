"""Training of the bundled phantom.

`python -m negtrace.experiments.train_phantom.train` trains it, `.measure` measures it on held-out
patients, and `.sheet` draws radiographs with their reports.
"""
