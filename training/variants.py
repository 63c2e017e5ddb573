"""Several learners fitted on one side of a split and judged on the other, with examples of what they would list."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from features.arrays import Rows
from features.catalogue import Catalogue
from features.errors import TooManyArtworksError
from serving.bundle import Bundle
from training import roster
from training.dataset import Split
from training.evaluate import Judged, Rules, judge, rows_by_user
from training.learner import Given, learn
from training.replay import Replay, what_is_known

SHOWN = 8  # artworks of each list in an example


@dataclass(frozen=True)
class Example:
    """One user: catalogue rows of what was liked before, latest first, what was liked afterwards, and each list."""

    user_id: str
    before: Rows
    after: Rows
    lists: Mapping[str, Rows]


@dataclass(frozen=True)
class Variants:
    """Bundles by name, fitted on the training side, and how they did on the test side."""

    pool: Catalogue
    halves: Split
    rules: Rules
    bundles: Mapping[str, Bundle]
    judged: Mapping[str, Judged]


def try_variants(
    names: Sequence[str], halves: Split, pool: Catalogue, rules: Rules, on_step: Callable[[str], None] = print
) -> Variants:
    """Fit and judge learners of the roster by their names; one that refuses a pool this large is left out."""
    bundles: dict[str, Bundle] = {}
    for name in names:
        on_step(f"fitting {name}")
        try:
            bundles[name] = learn(roster.make_learner(name, rules.seed), Given(halves.train, pool))
        except TooManyArtworksError as error:
            on_step(str(error))
    on_step(f"judging on {halves.test_users:,} users")
    judged = {name: judge(bundle, halves, pool, rules) for name, bundle in bundles.items()}
    return Variants(pool, halves, rules, bundles, judged)


def draw_examples(variants: Variants, names: Sequence[str], users: int = 2) -> list[Example]:
    """The users who liked most after the cut among those who had liked something before, and their lists."""
    halves, pool = variants.halves, variants.pool
    before = halves.train.signals.filter(pl.col("weight") > 0)
    told = before.group_by("user_id").len().filter(pl.col("len") >= SHOWN)
    liked = halves.test.filter("liked").join(told, on="user_id", how="semi")
    counts = liked.group_by("user_id").len().sort("len", "user_id", descending=[True, False])
    chosen = counts["user_id"].head(users).to_list()
    known = what_is_known(halves.train.signals, chosen, pool, variants.rules.signals_per_user)
    lists = {name: Replay(variants.bundles[name], pool).lists(known, SHOWN) for name in names}
    after = rows_by_user(liked, chosen, pool)
    return [
        Example(
            user,
            known[place].signal_rows[known[place].weights > 0][:SHOWN],
            after[place],
            {name: found[place] for name, found in lists.items()},
        )
        for place, user in enumerate(chosen)
    ]
