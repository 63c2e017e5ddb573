"""What we learn: fit, judge, publish. May import serving, so that the judged code is the code that serves."""

import warnings

# The progress bars of implicit, which are off, warn in notebooks that have no widgets.
warnings.filterwarnings("ignore", message="IProgress not found")
