"""What we learn: fit, judge, publish. May import serving, so that the judged code is the code that serves."""

import warnings

import features  # noqa: F401 - first of all: it says how many threads numpy may use

# The progress bars of implicit, which are off, warn in notebooks that have no widgets.
warnings.filterwarnings("ignore", message="IProgress not found")
