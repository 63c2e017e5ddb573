"""The service with rankers that fail on demand: an application for tests only, `tests.faulty:Vernissage`.

The file that the variable FAULTS names holds a line per trouble, `<source> raise` or `<source> sleep <seconds>`, where
the source is `model` or `content`. It is read at every ranking, so that a test can change its mind in between.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from serving import ranking
from serving.service import Vernissage as Vernissage  # noqa: PLC0414 - what BentoML is to serve

P = ParamSpec("P")
R = TypeVar("R")


class BrokenRankerError(Exception):
    """A ranker broke on demand."""


def troubled(source: str, work: Callable[P, R]) -> Callable[P, R]:
    """``work``, but in trouble whenever the file says so."""

    @wraps(work)
    def ranker(*args: P.args, **kwargs: P.kwargs) -> R:
        for line in Path(os.environ["FAULTS"]).read_text("utf-8").splitlines():
            name, trouble, *seconds = line.split()
            if name == source and trouble == "raise":
                raise BrokenRankerError
            if name == source:
                time.sleep(float(seconds[0]))
        return work(*args, **kwargs)

    return ranker


ranking.model_scores = troubled("model", ranking.model_scores)
ranking.near_scores = troubled("content", ranking.near_scores)
