"""The names of the array types that cross modules, and marks by artwork key."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int32]  # row numbers of a catalogue or a model; -1 where unknown
Keys = NDArray[np.int32]  # artwork keys
Mask = NDArray[np.bool_]
Marks = NDArray[np.bool_]  # by artwork key; what lies beyond the end is not marked

PIECE = 4_096  # rows


def products(matrix: Floats, rows: Rows, vector: Floats) -> Floats:
    """``matrix[rows] @ vector``, shape (m,), in pieces that stay in the processor's cache: quicker than a copy."""
    found = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), PIECE):
        piece = slice(start, start + PIECE)
        np.dot(matrix.take(rows[piece], axis=0), vector, out=found[piece])
    return found


def all_products(matrix: Floats, vector: Floats) -> Floats:
    """``matrix @ vector``, shape (n,), in pieces too: a large matrix is read from memory a good deal quicker so."""
    found = np.empty(len(matrix), np.float32)
    for start in range(0, len(matrix), PIECE):
        piece = slice(start, start + PIECE)
        np.dot(matrix[piece], vector, out=found[piece])
    return found


def mark(keys: Keys) -> Marks:
    """These keys marked, and no others.

    >>> mark(np.array([2, 0], np.int32)).tolist()
    [True, False, True]
    """
    marks = np.zeros(int(keys.max(initial=-1)) + 1, dtype=bool)
    marks[keys] = True
    return marks


def are_marked(marks: Marks, keys: Keys) -> Mask:
    """Which of ``keys`` are marked, shape (m,).

    >>> are_marked(mark(np.array([2, 0], np.int32)), np.array([2, 1, 9], np.int32)).tolist()
    [True, False, False]
    """
    inside = keys < len(marks)
    found = np.zeros(len(keys), dtype=bool)
    found[inside] = marks[keys[inside]]
    return found
