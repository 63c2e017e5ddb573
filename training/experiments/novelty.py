"""Whether an effect lasts: the primary metric by days since each user's first exposure. Pure.

What is new is looked at because it is new, and what is unfamiliar is passed over at first; both wear off. The users of
later days are those who came early, in every arm alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.experiments.definitions import Definition
from serving.experiments.metrics import METRICS
from training.experiments.estimates import Estimate, Values, scores_of_ratio, welch
from training.experiments.reading import SPAN_ENDS, Exposed

LEAST = 30  # users of each of the two arms with anything to count, before a span says something


class Span(NamedTuple):
    """An arm beside the control in some days of a user's life in the experiment."""

    arm: str
    first_day: int  # counted from 1
    last_day: int
    users: int  # of the two arms
    control_mean: float
    estimate: Estimate


class Change(NamedTuple):
    """How the difference to the control moved, user by user, from their first day to the last days that are known."""

    arm: str
    first: Span
    last: Span
    estimate: Estimate  # the last difference less the first, of the same users


def spans_of(definition: Definition, exposed: Exposed) -> list[Span]:
    """Each arm in each span of days that enough users have lived through."""
    found = []
    for place, arm in enumerate(definition.arms[1:], start=1):
        for part in range(len(SPAN_ENDS)):
            groups = _groups(definition, exposed, place, part, part)
            if groups is not None:
                found.append(_span(arm.name, part, groups))
    return found


def changes_of(definition: Definition, exposed: Exposed) -> list[Change]:
    """Each arm's first day beside its last known days; none for an arm that is known for one span alone."""
    found = []
    for place, arm in enumerate(definition.arms[1:], start=1):
        known = [part for part in range(1, len(SPAN_ENDS)) if _groups(definition, exposed, place, part, part)]
        if not known:
            continue
        last = known[-1]
        early, late = (_groups(definition, exposed, place, part, last) for part in (0, last))
        if early is None or late is None:
            continue
        estimate = welch(late[0] - early[0], late[1] - early[1])
        found.append(Change(arm.name, _span(arm.name, 0, early), _span(arm.name, last, late), estimate))
    return found


def _groups(
    definition: Definition, exposed: Exposed, place: int, part: int, until: int
) -> tuple[Values, Values] | None:
    """The metric in one span, one value per user of the control and of an arm who lived up to the end of ``until``.

    None where fewer than LEAST of either have anything to count. A metric over users is one over days of users here.
    """
    over = exposed.followed(SPAN_ENDS[until])
    numerators, denominators = _parts(definition, exposed, part)
    groups = []
    for arm in (0, place):
        which: NDArray[np.bool_] = over & (exposed.arms == arm)
        if int((denominators[which] > 0).sum()) < LEAST:
            return None
        groups.append(scores_of_ratio(numerators[which], denominators[which]))
    return groups[0], groups[1]


def _parts(definition: Definition, exposed: Exposed, part: int) -> tuple[Values, Values]:
    """What is counted in a span, and over what."""
    ratio, sums = METRICS[definition.primary_metric], exposed.spans[part]
    days = float(SPAN_ENDS[part] - _start(part))
    over = np.full(len(exposed.arms), days) if ratio.denominator == "1" else sums[ratio.denominator]
    return sums[ratio.numerator], over


def _start(part: int) -> int:
    """The whole days before a span."""
    return SPAN_ENDS[part - 1] if part else 0


def _span(arm: str, part: int, groups: tuple[Values, Values]) -> Span:
    """The groups compared."""
    control, treated = groups
    users = len(control) + len(treated)
    return Span(arm, _start(part) + 1, SPAN_ENDS[part], users, float(control.mean()), welch(control, treated))
