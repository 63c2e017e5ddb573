"""Experiments: what is tried, who is in which arm, and how two rankings share a list. Judging them is training's."""
