"""What we answer: rank, record, plan, report. Loads arrays; never imports scikit-learn or mlflow."""

import features  # noqa: F401 - first of all: it says how many threads numpy may use
