"""Set up the environment; only Python's own library is used.

``python -m scripts.bootstrap`` in the root of the checkout; ``make setup``
calls it. It creates the virtual environment, installs the pinned packages,
compiles mmcv once and shows what it got.
"""
