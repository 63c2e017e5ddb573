"""What we answer: rank, record, plan, report. Loads arrays; never imports scikit-learn or mlflow."""
