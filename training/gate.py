"""The promotion gate: a version goes live only if no guardrail metric falls too far against the live one.

Both must have been judged on the same ground (signals, pool, split, sample of users); where they were not, both recipes
are fitted on the earlier side of the split as it is now, and judged. A rollback never comes here, nor does an alias
that somebody moves in the registry by hand: both are decisions, and both must work when judging does not.

The guardrails and their thresholds are the table below, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg

from features.errors import BadBundleError, GuardrailError
from features.settings import Settings
from serving.bundle import Manifest
from training.judging import judge_recipe
from training.publish import Delivered, audit, live_bundle, live_version, manifest_of, publish
from training.run import read_given

CERTAINTY = 1.96  # standard errors of the difference that a fall must exceed: chance alone does so once in 40
LEAST_USERS = 30  # a mean over fewer tells nothing of a fall
REPEATS = "repeat_rate"  # never anything but 0, whatever is live
Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Guardrail:
    """A metric, the greatest fall that is let pass as a share of its value, and what counts the users it is over."""

    metric: str
    fall: float
    users: str = "users_judged"


#: Wider where the metric moves more from one fit to the next: recall of cold artworks is a mean over fewer users, and
#: coverage of the pool is bought with recall within reason.
GUARDRAILS = (
    Guardrail("recall_at_20", 0.05),
    Guardrail("ndcg_at_20", 0.05),
    Guardrail("recall_cold_at_20", 0.10, "users_judged_cold"),
    Guardrail("coverage_at_20", 0.20),
    Guardrail("diversity_at_20", 0.10),
)


@dataclass(frozen=True)
class Verdict:
    """What was compared with what, and what speaks against publishing; nothing does where ``against`` is empty."""

    ground: str
    against: tuple[str, ...] = ()


def promote(
    version: str,
    settings: Settings,
    connection: psycopg.Connection,
    *,
    force: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> tuple[Delivered, Verdict]:
    """Publish a version that passes the gate, or any with ``force``, which leaves a trace in the audit log.

    Raises GuardrailError (noted in the audit log; nothing moves), and what `training.publish.publish` raises.
    """
    verdict = weigh(version, settings, connection, on_step)
    reason = "; ".join(verdict.against)
    if reason and not force:
        audit("hold", version, {"reason": reason, "ground": verdict.ground}, connection)
        raise GuardrailError(version=version, reason=reason)
    on_step(f"publishing version {version}")
    note = {"forced": reason, "ground": verdict.ground} if reason else {}
    return publish(version, settings, connection, note), verdict


def weigh(version: str, settings: Settings, connection: psycopg.Connection, on_step: Callable[[str], None]) -> Verdict:
    """Compare a version with the live one, both judged on the same ground."""
    live = live_version(connection)
    candidate = _manifest(version, settings)
    if candidate is None:
        return Verdict("its files are broken")  # which publishing says better, and notes
    if live in {None, version}:
        return Verdict("nothing else is live", repeats(candidate.metrics))
    champion = _live_manifest(connection)
    if champion is None:
        return Verdict("the live bundle is not on this machine", repeats(candidate.metrics))
    on_step(f"comparing version {version} with version {live}, which is live")
    beside = f"beside version {live} ({champion.model})"
    if candidate.metrics and ground_of(candidate) == ground_of(champion):
        return Verdict(f"{beside}, as judged when trained", falls(candidate.metrics, champion.metrics))
    given = read_given(settings, connection)
    now, before = (judge_recipe(manifest, given, settings, on_step) for manifest in (candidate, champion))
    if now.refused:
        against = (f"it cannot be judged: {now.refused}",) if champion.metrics else ()
        return Verdict(f"{beside}, which was judged when trained", against)
    return Verdict(f"{beside}, both judged now", falls(now.judged.metrics, before.judged.metrics))


def falls(now: Metrics, before: Metrics) -> tuple[str, ...]:
    """What fell too far, in words; a metric that either side lacks, or that too few users have, is no guardrail.

    Too far is by more than the threshold, and by more than users differ by chance. Both were judged on the same users,
    so the errors added here as if on others are rather too wide than too narrow.

    >>> users = {"users_judged": 100}
    >>> falls({"recall_at_20": 0.18, **users}, {"recall_at_20": 0.20, **users})
    ('recall_at_20 fell from 0.2000 to 0.1800, by 10% where 5% is let pass',)
    """
    return repeats(now) + tuple(
        f"{rail.metric} fell from {before[rail.metric]:.4f} to {now[rail.metric]:.4f}, "
        f"by {1 - now[rail.metric] / before[rail.metric]:.0%} where {rail.fall:.0%} is let pass"
        for rail in GUARDRAILS
        if rail.metric in now
        and rail.metric in before
        and min(now.get(rail.users, 0), before.get(rail.users, 0)) >= LEAST_USERS
        and before[rail.metric] - now[rail.metric] > max(rail.fall * before[rail.metric], _chance(rail, now, before))
    )


def _chance(rail: Guardrail, now: Metrics, before: Metrics) -> float:
    """The difference that may be chance; 0 for coverage, which is no mean over users."""
    return CERTAINTY * math.hypot(*(metrics.get(f"{rail.metric}_error", 0.0) for metrics in (now, before)))


def repeats(now: Metrics) -> tuple[str, ...]:
    """The one guardrail that needs no comparison.

    >>> repeats({"repeat_rate": 0.001})
    ('repeat_rate is 0.001 and must be 0',)
    """
    return (f"{REPEATS} is {now[REPEATS]:.3g} and must be 0",) if now.get(REPEATS, 0) > 0 else ()


def ground_of(manifest: Manifest) -> tuple[object, ...]:
    """What a bundle was judged on: equal ones can be compared."""
    about = (manifest.params.get(name) for name in ("split", "pool", "judged_by"))
    return (manifest.snapshot, manifest.half_life_days, *about)


def _manifest(version: str, settings: Settings) -> Manifest | None:
    """What a registered version says of itself; None when it cannot be read."""
    try:
        return manifest_of(version, settings)
    except BadBundleError:
        return None


def _live_manifest(connection: psycopg.Connection) -> Manifest | None:
    """What the live bundle says of itself; None when this machine lacks it."""
    try:
        live = live_bundle(connection)
    except BadBundleError:
        return None
    return None if live is None else live.manifest
