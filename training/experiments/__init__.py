"""Judging experiments: estimates, sequences that may be looked at daily, and the report. Running them is serving's."""
