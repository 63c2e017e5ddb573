"""The people of a synthetic world: who they are, what they like, how they behave."""

# ruff: noqa: PLR2004 - the numbers are the shape of an invented world

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from training.synth_pool import Artworks
from training.synth_recipe import (
    DAY,
    FAMILY_OF_STYLE,
    LOOK,
    STYLE_FAMILIES,
    STYLES,
    Flags,
    Floats,
    Recipe,
    Rows,
    Times,
    artist_names,
    logistic,
    uuids,
)

_BLOCK = 65_536

ARTIST_PICKS = 4
READABLE_USERS = ("ada", "ben", "chloe", "dao", "emil")
TIERS = ("free", "premium", "ultimate", "enthusiast", "business_basic", "business_premium")
TIER_SHARES = (0.62, 0.16, 0.06, 0.09, 0.05, 0.02)


@dataclass(frozen=True, eq=False)
class Tastes:
    """The parameters behind preference. Those of shape (2, users, ...) hold the first day's and the last day's."""

    bias: Floats  # (users,)
    styles: Floats  # (2, users, styles)
    directions: Floats  # (2, users, LOOK)
    artist_rows: Rows  # (users, ARTIST_PICKS), -1 for none
    artist_strengths: Floats  # (users, ARTIST_PICKS)
    liked: Flags  # (users, styles): on the first day
    drifting: Flags  # (users,)


@dataclass(frozen=True, eq=False)
class Habits:
    """How people behave whatever they are shown; arrays of shape (users,)."""

    pace: Floats  # log of the usual dwell in seconds
    voting: Floats  # readiness, 0 for those who never vote
    favouring: Floats
    impatience: Floats
    per_day: Floats  # exposures a day; 0 for those who only signed up
    session_length: Floats
    peak_hour: Floats


@dataclass(frozen=True, eq=False)
class Users:
    """The people; arrays and tuples of length users. The first five have readable ids."""

    ids: tuple[str, ...]
    joined_at: Times
    left_at: Times
    tiers: tuple[str, ...]
    orientations: tuple[str | None, ...]
    style_preferences: tuple[str | None, ...]
    tastes: Tastes
    habits: Habits


def preference(
    tastes: Tastes, artworks: Artworks, user_rows: ArrayLike, artwork_rows: ArrayLike, progress: ArrayLike = 1.0
) -> Floats:
    """`World.preference`, for the parts: logistic(bias + style + artists + direction . look + appeal)."""
    users, works, moments = np.broadcast_arrays(user_rows, artwork_rows, np.asarray(progress, dtype=np.float32))
    flat = users.ravel(), works.ravel(), moments.ravel()
    result = np.empty(users.size, dtype=np.float32)
    for start in range(0, users.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        result[block] = logistic(_leaning(tastes, artworks, *(part[block] for part in flat)))
    return result.reshape(users.shape)


def _leaning(tastes: Tastes, artworks: Artworks, users: Rows, works: Rows, moments: Floats) -> Floats:
    """The argument of the logistic, shape (n,)."""
    styles = tastes.styles[:, users, artworks.style_rows[works]]
    looks = np.einsum("tnk,nk->tn", tastes.directions[:, users], artworks.looks[works])
    first, last = styles + looks
    picked = tastes.artist_rows[users] == artworks.artist_rows[works][:, None]
    artists = (tastes.artist_strengths[users] * picked).sum(axis=1)
    return np.asarray(
        tastes.bias[users] + (1 - moments) * first + moments * last + artists + artworks.appeal[works],
        dtype=np.float32,
    )


def make_users(recipe: Recipe, parts: dict[str, Generator]) -> Users:
    """Return the people; nothing of them depends on the artworks."""
    rng = parts["people"]
    count = recipe.users
    tastes = _make_tastes(recipe, parts["tastes"])
    joined_at, left_at = _memberships(recipe, rng)
    orientations = rng.choice(["portrait", "landscape", "both", ""], size=count, p=[0.12, 0.2, 0.13, 0.55])
    orientations[: len(READABLE_USERS)] = ""
    return Users(
        ids=_user_ids(rng, count),
        joined_at=joined_at,
        left_at=left_at,
        tiers=tuple(str(tier) for tier in rng.choice(TIERS, size=count, p=TIER_SHARES)),
        orientations=tuple(str(word) or None for word in orientations),
        style_preferences=_style_preferences(rng, tastes, artist_names(recipe)),
        tastes=tastes,
        habits=_make_habits(parts["habits"], count),
    )


def _user_ids(rng: Generator, count: int) -> tuple[str, ...]:
    """The host's mix: nanoids of 21 characters, uuids and numeric login ids, after the readable ones."""
    alphabet = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"))
    nanoids = alphabet[rng.integers(0, len(alphabet), (count, 21))]
    long = uuids(rng, count)
    numbers = rng.choice(90_000_000, size=count, replace=False) + 10_000_000
    kinds = rng.choice(3, size=count, p=[0.55, 0.4, 0.05])
    ids = [("".join(nanoids[row]), long[row], str(numbers[row]))[kinds[row]] for row in range(count)]
    return (*READABLE_USERS, *ids[len(READABLE_USERS) :])[:count]


def _memberships(recipe: Recipe, rng: Generator) -> tuple[Times, Times]:
    """When people joined (some before the world begins) and when they were last interested."""
    count, span = recipe.users, recipe.end - recipe.begin
    early = rng.random(count) < 0.5
    offsets = np.where(early, -300 * DAY * rng.random(count), 0.9 * span * rng.random(count))
    offsets[: len(READABLE_USERS)] = -DAY
    joined_at = recipe.begin + offsets.astype(np.int64)
    since = np.maximum(joined_at, recipe.begin)
    leaves = rng.random(count) < 0.25
    leaves[: len(READABLE_USERS)] = False
    stay = np.where(leaves, rng.random(count), 1.0)
    return joined_at, since + (stay * (recipe.end - since)).astype(np.int64)


def _make_tastes(recipe: Recipe, rng: Generator) -> Tastes:
    """1 to 4 liked styles (often of one family), up to 4 artists, a direction among looks; a fifth of them drift."""
    count, people = recipe.users, np.arange(recipe.users)
    order = _style_order(rng, count)
    liked_count = rng.choice([1, 2, 3, 4], size=count, p=[0.25, 0.35, 0.25, 0.15])
    ranks = np.argsort(order, axis=1)
    liked = ranks < liked_count[:, None]
    families = np.zeros((count, len(STYLE_FAMILIES)), dtype=bool)
    families[np.nonzero(liked)[0], FAMILY_OF_STYLE[np.nonzero(liked)[1]]] = True
    mild = rng.normal(0, 0.25, liked.shape) + 0.3 * families[:, FAMILY_OF_STYLE]
    styles = np.where(liked, rng.uniform(1.2, 2.7, liked.shape), mild)

    drifting = rng.random(count) < 0.2
    late = styles.copy()
    late[people[drifting], order[drifting, 0]] *= 0.25
    late[people[drifting], order[people, liked_count][drifting]] = rng.uniform(1.2, 2.7, int(drifting.sum()))
    directions = _directions(rng, count)
    turned = np.where(drifting[:, None], 0.6 * directions + 0.6 * _directions(rng, count), directions)

    picks, strengths = _artist_picks(recipe, rng, order, liked_count)
    return Tastes(
        bias=rng.normal(-1.7, 0.5, count).astype(np.float32),
        styles=np.stack([styles, late]).astype(np.float32),
        directions=np.stack([directions, turned]).astype(np.float32),
        artist_rows=picks,
        artist_strengths=strengths,
        liked=liked,
        drifting=drifting,
    )


def _style_order(rng: Generator, count: int) -> Rows:
    """Style rows by liking, best first, shape (users, styles): a favourite, then rather its family's."""
    scores = rng.gumbel(0, 1, (count, len(STYLES))) + rng.normal(0, 0.4, len(STYLES))
    favourite = scores.argmax(axis=1)
    scores += 1.3 * (FAMILY_OF_STYLE[favourite][:, None] == FAMILY_OF_STYLE)
    return np.asarray(np.argsort(-scores, axis=1))


def _directions(rng: Generator, count: int) -> NDArray[np.float64]:
    vectors = rng.normal(0, 1, (count, LOOK))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths * rng.uniform(0.6, 1.3, (count, 1)))


def _artist_picks(recipe: Recipe, rng: Generator, order: Rows, liked_count: Rows) -> tuple[Rows, Floats]:
    """Up to four artists each, four out of five from a liked style."""
    shape = (recipe.users, ARTIST_PICKS)
    ranks = (rng.random(shape) * np.where(rng.random(shape) < 0.8, liked_count[:, None], len(STYLES))).astype(np.int64)
    style_rows = np.take_along_axis(order, ranks, axis=1)
    artist_rows = style_rows + len(STYLES) * rng.integers(0, recipe.artists // len(STYLES), shape)
    used = np.arange(ARTIST_PICKS) < rng.integers(0, ARTIST_PICKS + 1, (recipe.users, 1))
    return np.where(used, artist_rows, -1), rng.uniform(0.8, 2.0, shape).astype(np.float32)


def _style_preferences(rng: Generator, tastes: Tastes, names: tuple[str, ...]) -> tuple[str | None, ...]:
    """What people declared: for two thirds of them, mostly but not always what they like; 1% is not JSON."""
    count = len(tastes.liked)
    draws, keep = rng.random(count), rng.random(tastes.liked.shape)
    chosen = np.where(tastes.liked, keep < 0.85, keep < 0.012)
    texts: list[str | None] = []
    for row in range(count):
        if draws[row] > 0.67:
            texts.append(None)
            continue
        declared = {
            "styles": [STYLES[style] for style in np.flatnonzero(chosen[row])],
            "artists": [names[artist] for artist in tastes.artist_rows[row, :2] if artist >= 0],
            "dynamicMode": bool(draws[row] < 0.1),
        }
        text = json.dumps(declared, separators=(",", ":"))
        texts.append(text[:-7] if draws[row] > 0.66 else text)
    return tuple(texts)


def _make_habits(rng: Generator, count: int) -> Habits:
    """People differ much in how much they look and how readily they vote."""
    quiet = rng.random(count) < 0.4
    absent = rng.random(count) < 0.08
    readiness = np.where(quiet, 0.0, rng.gamma(0.7, 1.0, count))
    per_day = np.where(absent, 0.0, rng.lognormal(np.log(0.65), 1.3, count))
    arrays = {
        "pace": rng.normal(np.log(15), 0.35, count),
        "voting": readiness,
        "favouring": rng.gamma(0.5, 1.0, count),
        "impatience": rng.gamma(2.0, 0.5, count),
        "per_day": per_day,
        "session_length": np.clip(rng.lognormal(np.log(9), 0.5, count), 2, 40),
        "peak_hour": rng.normal(20.2, 1.0, count),
    }
    return Habits(**{name: array.astype(np.float32) for name, array in arrays.items()})
