"""The artworks of a synthetic world: looks, words, DNA and the host's oddities; nothing about people."""

# ruff: noqa: PLR2004 - the numbers are the shape of an invented world

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.synth_recipe import (
    ALWAYS,
    FAMILY_OF_STYLE,
    HOUR,
    LOOK,
    NEVER,
    STYLE_FAMILIES,
    STYLES,
    Flags,
    Floats,
    Recipe,
    Rows,
    Times,
    artist_names,
    dealt,
    logistic,
    uuids,
)

SUBJECTS = {
    "landscape": ("a valley at dawn", "terraced hills", "a birch wood", "a salt plain", "a field of poppies"),
    "seascape": ("a harbour in fog", "breaking waves", "a lighthouse", "fishing boats", "a frozen shore"),
    "cityscape": ("a market street", "rooftops after rain", "a night tram", "a canal", "a stairway of lanterns"),
    "portrait": ("a lute player", "two sisters", "a masked dancer", "an old gardener", "a reader by a window"),
    "still-life": ("quinces and pewter", "a vase of irises", "oysters on linen", "a stopped clock", "blue bottles"),
    "animals": ("a heron", "sleeping foxes", "a school of carp", "a white horse", "moths around a lamp"),
    "interior": ("a green room", "an empty theatre", "a kitchen at noon", "a spiral hall", "a library of glass"),
    "abstraction": ("nested circles", "falling planes", "a knot of light", "tilted grids", "slow ripples"),
}
GENRES = tuple(SUBJECTS)
MOODS = ("serene", "melancholic", "joyful", "tense", "dreamy", "solemn", "playful", "mysterious")
PALETTES = ("ochre", "cobalt", "emerald", "vermilion", "pastel", "monochrome", "neon", "gold and black")
MANNERS = ("loose", "meticulous", "luminous", "weathered", "monumental", "intimate", "vivid", "hushed", "layered")
OTHER_SCRIPTS = (
    ("{subject}、{style}、静かな光", ("霧の港", "桜の庭", "雨の路地", "月夜の山", "金魚")),
    ("{subject} بأسلوب {style}", ("مدينة قديمة", "حديقة تحت المطر", "قمر فوق البحر", "خط ذهبي", "نافذة زرقاء")),
    ("{subject}, стиль {style}", ("зимний лес", "ночной город", "старый мост", "тихая река", "красный конь")),
    ("{subject} {style} ✨", ("🌊🌙", "🦋🌸", "🏔️☀️", "🐟💧", "🏙️🌃")),
)
OTHER_SCRIPT_SHARE = 0.05

DNA_LENGTH = 50
DNA_TASTE = 44
DNA_WIDE = (13, 28)  # fractal depth and depth layers range over 0-3
DNA_MORPH = np.array([[0.5, 2.0], [0.3, 2.0], [0.5, 1.5], [0.3, 1.5], [0.2, 1.0], [0.8, 1.5]])
#: What dna_vector may hold, with the shares among library and among generated artworks.
DNA_KINDS = ("real", "fallback", "stub", "null", "short", "nan", "not_json")
REAL, FALLBACK, STUB, NULL, SHORT, NAN, NOT_JSON = range(len(DNA_KINDS))
LIBRARY_SHARE = 0.40
LIBRARY_DNA = (0.125, 0.0, 0.875, 0.0, 0.0, 0.0, 0.0)
GENERATED_DNA = (0.65, 0.25, 0.0, 0.05, 0.05 / 3, 0.05 / 3, 0.05 / 3)
#: The shares in the whole pool that follow from these: real .44, fallback .15, stub .35, null .03, others .01 each.
DNA_SHARES = tuple(
    LIBRARY_SHARE * library + (1 - LIBRARY_SHARE) * generated
    for library, generated in zip(LIBRARY_DNA, GENERATED_DNA, strict=True)
)


@dataclass(frozen=True, eq=False)
class Artworks:
    """The pool, oldest first; arrays of shape (artworks,) unless said."""

    ids: tuple[str, ...]
    created_at: Times
    retired_at: Times  # when it left the pool: NEVER for active ones, ALWAYS for pending ones
    statuses: tuple[str | None, ...]
    is_library: Flags
    creator_rows: Rows  # -1 for the library's and unknown ones
    style_rows: Rows
    second_style_rows: Rows  # -1 for none; a tag of the same family that taste does not read
    artist_rows: Rows
    genre_rows: Rows
    mood_rows: Rows
    looks: Floats  # (artworks, LOOK), standard deviation about 1
    appeal: Floats  # shared by all people, mild
    artist_names: tuple[str, ...]  # (artists,)
    prompts: tuple[str, ...]
    orientations: tuple[str | None, ...]
    quality: NDArray[np.float64]
    dna_kinds: Rows
    dna: tuple[str | None, ...]  # the text as the host stores it

    @property
    def active_at_end(self) -> int:
        """How many are in the pool when the world ends."""
        return int((self.retired_at == NEVER).sum())


def artwork_ids(recipe: Recipe) -> tuple[str, ...]:
    """The artworks' ids alone, without making the world: they tell whether a database holds it already."""
    return uuids(recipe.generators()["ids"], recipe.artworks)


def make_artworks(recipe: Recipe, parts: dict[str, Generator], joined_at: Times) -> Artworks:
    """Return the pool; ``joined_at`` of the users says who could have had an artwork made."""
    pool, looks, words = parts["pool"], parts["looks"], parts["words"]
    count = recipe.artworks
    is_library = dealt(pool, count, (1 - LIBRARY_SHARE, LIBRARY_SHARE)) == 1
    created_at = _creation_times(recipe, pool, is_library)
    order = np.argsort(created_at, kind="stable")
    created_at, is_library = created_at[order], is_library[order]
    statuses, retired_at = _statuses(recipe, pool, created_at, is_library)
    legacy = np.array([status is None for status in statuses])

    style_rows = looks.choice(len(STYLES), size=count, p=looks.dirichlet(np.full(len(STYLES), 4.0)))
    artist_rows = _artists(recipe, looks, style_rows)
    positions = _positions(recipe, looks, style_rows, artist_rows)
    mood_rows = _nearest_word(looks, positions, len(MOODS))
    genre_odds = looks.dirichlet(np.full(len(GENRES), 0.7), size=len(STYLES)).cumsum(axis=1)
    genre_rows = (looks.random(count)[:, None] > genre_odds[style_rows, :-1]).sum(axis=1)
    names = artist_names(recipe)

    dna_kinds = _dna_kinds(parts["dna"], is_library)
    return Artworks(
        ids=artwork_ids(recipe),
        created_at=created_at,
        retired_at=retired_at,
        statuses=statuses,
        is_library=is_library,
        creator_rows=_creators(pool, joined_at, created_at, is_library),
        style_rows=style_rows,
        second_style_rows=_second_styles(looks, style_rows),
        artist_rows=artist_rows,
        genre_rows=genre_rows,
        mood_rows=mood_rows,
        looks=positions,
        appeal=looks.normal(0, 0.3, count).astype(np.float32),
        artist_names=names,
        prompts=_prompts(
            words,
            styles=style_rows,
            genres=genre_rows,
            moods=mood_rows,
            palettes=_nearest_word(looks, positions, len(PALETTES)),
            artists=[names[row] for row in artist_rows],
        ),
        orientations=_orientations(pool, legacy),
        quality=_quality(pool, is_library),
        dna_kinds=dna_kinds,
        dna=_dna_texts(parts["dna"], dna_kinds, positions, mood_rows),
    )


def _creation_times(recipe: Recipe, rng: Generator, is_library: Flags) -> Times:
    """The library comes in a first seeding and three later loads; the generated trickle, a quarter in bursts."""
    count, span = len(is_library), recipe.end - recipe.begin
    loads = 0.85 * rng.random(3)  # none so late that nobody could have looked at it
    library = np.where(rng.random(count) < 0.5, 0.0, rng.choice(loads, size=count)) * span + rng.random(count) * HOUR
    bursts = 0.95 * rng.random(max(2, recipe.days // 2))
    burst = rng.choice(bursts, size=count) * span + rng.exponential(1.5 * HOUR, size=count)
    generated = np.where(rng.random(count) < 0.25, burst, rng.random(count) * span)
    offsets = np.clip(np.where(is_library, library, generated), 0, span - HOUR // 6)
    return recipe.begin + offsets.astype(np.int64)


def _statuses(
    recipe: Recipe, rng: Generator, created_at: Times, is_library: Flags
) -> tuple[tuple[str | None, ...], Times]:
    """pool_status and the time of leaving: 3% archived, 1.5% pending, the oldest generated ones NULL (legacy)."""
    count = len(created_at)
    draws = rng.random(count)
    archived, pending = draws < 0.03, draws > 0.985
    generated = np.flatnonzero(~is_library & ~archived & ~pending)
    legacy = np.zeros(count, dtype=bool)
    legacy[generated[: count // 20]] = True
    left = created_at + ((0.1 + 0.9 * rng.random(count)) * (recipe.end - created_at)).astype(np.int64)
    retired_at = np.where(archived, left, np.where(pending, ALWAYS, NEVER))
    words = np.select([archived, pending, legacy], ["archived", "pending", ""], "active")
    return tuple(str(word) or None for word in words), retired_at


def _creators(rng: Generator, joined_at: Times, created_at: Times, is_library: Flags) -> Rows:
    """Who had a generated artwork made: anyone who had joined by then, else nobody (-1)."""
    by_age = np.argsort(joined_at, kind="stable")
    known = np.searchsorted(joined_at[by_age], created_at)
    picks = by_age[np.minimum((rng.random(len(created_at)) * known).astype(np.int64), len(by_age) - 1)]
    return np.where(is_library | (known == 0), -1, picks)


def _artists(recipe: Recipe, rng: Generator, style_rows: Rows) -> Rows:
    """Artist `a` is at home in style `a % styles`; one artwork in seven is by somebody else. Few artists do much."""
    per_style = recipe.artists // len(STYLES)
    home = style_rows + len(STYLES) * (per_style * rng.random(len(style_rows)) ** 1.6).astype(np.int64)
    return np.where(rng.random(len(style_rows)) < 0.15, rng.integers(0, recipe.artists, len(style_rows)), home)


def _positions(recipe: Recipe, rng: Generator, style_rows: Rows, artist_rows: Rows) -> Floats:
    """Looks: a mean for each family, offsets for style and artist, noise; scaled to a deviation of about 1."""
    families = rng.normal(0, 0.65, (len(STYLE_FAMILIES), LOOK))
    styles = families[FAMILY_OF_STYLE] + rng.normal(0, 0.4, (len(STYLES), LOOK))
    artists = rng.normal(0, 0.3, (recipe.artists, LOOK))
    noise = rng.normal(0, 0.6, (len(style_rows), LOOK))
    return np.asarray(styles[style_rows] + artists[artist_rows] + noise, dtype=np.float32)


def _nearest_word(rng: Generator, positions: Floats, words: int) -> Rows:
    """A word for each look, such as its mood: the one whose direction it leans to most, with some chance."""
    directions = rng.normal(0, 1, (LOOK, words))
    return np.asarray(np.argmax(positions @ directions + rng.gumbel(0, 1.5, (len(positions), words)), axis=1))


def _second_styles(rng: Generator, style_rows: Rows) -> Rows:
    """A second style tag of the same family for 15% of the artworks."""
    sizes = np.bincount(FAMILY_OF_STYLE)
    firsts = np.cumsum(sizes) - sizes
    family = FAMILY_OF_STYLE[style_rows]
    shift = 1 + (rng.random(len(style_rows)) * (sizes[family] - 1)).astype(np.int64)
    other = firsts[family] + (style_rows - firsts[family] + shift) % sizes[family]
    return np.where(rng.random(len(style_rows)) < 0.15, other, -1)


def _orientations(rng: Generator, legacy: Flags) -> tuple[str | None, ...]:
    names = rng.choice(["landscape", "portrait", "square"], size=len(legacy), p=[0.5, 0.3, 0.2])
    return tuple(None if old else str(name) for old, name in zip(legacy, names, strict=True))


def _quality(rng: Generator, is_library: Flags) -> NDArray[np.float64]:
    """The host's mixed scales: 70 for the library, 75 or 50 for the generated, 0.8 on one path."""
    generated = rng.choice([75.0, 50.0, 0.8], size=len(is_library), p=[0.6, 0.36, 0.04])
    return np.where(is_library, 70.0, generated)


def _prompts(
    rng: Generator, *, styles: Rows, genres: Rows, moods: Rows, palettes: Rows, artists: list[str]
) -> tuple[str, ...]:
    """One prompt per artwork; a few are equal, as they are at the host."""
    count = len(styles)
    foreign = rng.random(count) < OTHER_SCRIPT_SHARE
    manners, subjects = rng.integers(0, len(MANNERS), count), rng.integers(0, 5, count)
    scripts = rng.integers(0, len(OTHER_SCRIPTS), count)
    prompts = []
    for row in range(count):
        style = STYLES[styles[row]]
        if foreign[row]:
            frame, nouns = OTHER_SCRIPTS[scripts[row]]
            prompts.append(frame.format(subject=nouns[subjects[row]], style=style))
            continue
        subject = SUBJECTS[GENRES[genres[row]]][subjects[row]]
        prompts.append(
            f"{MANNERS[manners[row]]} {style} of {subject}, {PALETTES[palettes[row]]} palette,"
            f" {MOODS[moods[row]]} mood, after {artists[row]}"
        )
    return tuple(prompts)


# DNA -----------------------------------------------------------------------------------------------------------------


def _dna_kinds(rng: Generator, is_library: Flags) -> Rows:
    """The kind of each artwork's vector, in the shares of LIBRARY_DNA and GENERATED_DNA to the nearest artwork."""
    kinds = np.empty(len(is_library), dtype=np.int64)
    kinds[is_library] = dealt(rng, int(is_library.sum()), LIBRARY_DNA)
    kinds[~is_library] = dealt(rng, int((~is_library).sum()), GENERATED_DNA)
    return kinds


def _dna_texts(rng: Generator, kinds: Rows, positions: Floats, mood_rows: Rows) -> tuple[str | None, ...]:
    """dna_vector as stored."""
    vectors = _real_vectors(rng, positions)
    fallback = kinds == FALLBACK
    vectors[fallback] = _fallback_vectors(rng, mood_rows[fallback])
    stub = json.dumps([0.5] * DNA_LENGTH, separators=(",", ":"))
    broken = rng.choice(['{"dna":[0.41,0.2', "[object Object]", "undefined"], size=len(kinds))
    texts: list[str | None] = []
    for kind, vector, junk in zip(kinds, np.round(vectors, 3).tolist(), broken, strict=True):
        if kind == STUB:
            texts.append(stub)
        elif kind == NULL:
            texts.append(None)
        elif kind == NOT_JSON:
            texts.append(str(junk))
        else:
            texts.append(_dna_text(int(kind), vector))
    return tuple(texts)


def _dna_text(kind: int, vector: list[float]) -> str:
    """A vector as JSON text, spoilt where its kind asks for it."""
    if kind == SHORT:
        vector = vector[:-1]
    if kind == NAN:
        vector = [float("nan"), *vector[1:]]
    return json.dumps(vector, separators=(",", ":"))


def _real_vectors(rng: Generator, positions: Floats) -> NDArray[np.float64]:
    """Looks, squashed to (0, 1), through a fixed sparse non-negative map into 0-43; morph controls at random."""
    weights = rng.gamma(1.0, 1.0, (DNA_TASTE, LOOK)) * (rng.random((DNA_TASTE, LOOK)) < 0.3)
    weights[np.arange(DNA_TASTE), rng.integers(0, LOOK, DNA_TASTE)] += 1.0  # no dimension without a source
    weights /= weights.sum(axis=1, keepdims=True)
    top = rng.choice([1.0, 2.0], size=DNA_TASTE)
    top[list(DNA_WIDE)] = 3.0
    unit = logistic(1.3 * positions).astype(np.float64) @ weights.T + rng.normal(0, 0.02, (len(positions), DNA_TASTE))
    return np.hstack([np.clip(unit, 0, 1) * top, _morph_controls(rng, len(positions))])


def _fallback_vectors(rng: Generator, mood_rows: Rows) -> NDArray[np.float64]:
    """What the host makes up when its analysis fails: one of four prototypes, chosen by mood, and an intensity."""
    prototypes = rng.uniform(0.2, 0.8, (4, DNA_TASTE))
    taste = prototypes[mood_rows % 4] * rng.uniform(0.9, 1.1, (len(mood_rows), 1))
    return np.hstack([taste, _morph_controls(rng, len(mood_rows))])


def _morph_controls(rng: Generator, count: int) -> NDArray[np.float64]:
    return rng.uniform(DNA_MORPH[:, 0], DNA_MORPH[:, 1], (count, len(DNA_MORPH)))
