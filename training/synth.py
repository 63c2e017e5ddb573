"""A believable world from a seed: artworks, people with tastes, what they were shown and what they did about it.

It is the demo's pool and the tests' friend, held as numpy arrays; it knows no database (training.synth_store
writes it). It is no model of real people: taste is a logistic function of style, artist and look, written down
below, so that a ranker can be judged against the truth (`World.preference`).

What is shown follows a policy (newest first, partly random) and never taste; what people do follows taste, with
noise. Quality and orientation carry no taste. A mild appeal shared by all people exists, so popularity says a
little and no more.

One generator per part, spawned from the seed and the sizes: the same recipe makes the same world, and another
`until` only shifts it in time. For that, the world lies where `until` is half past nine in the evening.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from training.synth_people import Users, make_users, preference
from training.synth_pool import Artworks, make_artworks
from training.synth_recipe import Floats, Recipe, Times
from training.synth_visits import Exposures, Sessions, live


@dataclass(frozen=True, eq=False)
class World:
    """Everything, truth included."""

    recipe: Recipe
    artworks: Artworks
    users: Users
    sessions: Sessions
    exposures: Exposures

    def preference(self, user_rows: ArrayLike, artwork_rows: ArrayLike, progress: ArrayLike = 1.0) -> Floats:
        """Return how much each user likes each artwork, in [0, 1]; the arguments broadcast against each other.

        ``progress``: the moment, from 0 (begin) to 1 (until, the default), for those whose taste drifts.
        """
        return preference(self.users.tastes, self.artworks, user_rows, artwork_rows, progress)

    def progress(self, times: Times) -> Floats:
        """Moments as a share of the world's time."""
        return np.asarray((times - self.recipe.begin) / (self.recipe.end - self.recipe.begin), dtype=np.float32)


def make_world(recipe: Recipe) -> World:
    """Make the whole world; half a second for 2,000 users and 2,000 artworks, linear in both."""
    parts = recipe.generators()
    users = make_users(recipe, parts)
    artworks = make_artworks(recipe, parts, users.joined_at)
    sessions, exposures = live(recipe, parts, users, artworks)
    return World(recipe, artworks, users, sessions, exposures)
