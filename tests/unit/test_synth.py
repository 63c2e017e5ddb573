"""The synthetic world: what it promises, on worlds small enough to look at whole."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.dna import DnaKind, read_dna
from features.errors import BadRecipeError
from training.synth import World, make_world
from training.synth_people import READABLE_USERS, TIERS
from training.synth_pool import (
    DNA_KINDS,
    DNA_MORPH,
    DNA_SHARES,
    DNA_TASTE,
    DNA_WIDE,
    FALLBACK,
    NAN,
    NOT_JSON,
    NULL,
    REAL,
    SHORT,
    STUB,
    artwork_ids,
)
from training.synth_recipe import ALWAYS, DAY, HOUR, NEVER, SECOND, STYLES, Recipe

UNTIL = datetime(2026, 3, 1, 21, 30, tzinfo=UTC)
RECIPE = Recipe(seed=7, users=600, artworks=900, days=40, until=UNTIL)


@pytest.fixture(scope="module")
def world() -> World:
    """One world for all tests that only look."""
    return make_world(RECIPE)


@pytest.fixture(scope="module")
def preferences(world: World) -> NDArray[np.float32]:
    """The truth for every user and artwork, shape (users, artworks)."""
    return world.preference(np.arange(RECIPE.users)[:, None], np.arange(RECIPE.artworks))


@pytest.fixture(scope="module")
def shown(world: World) -> NDArray[np.bool_]:
    """What was shown to whom, shape (users, artworks)."""
    matrix = np.zeros((RECIPE.users, RECIPE.artworks), dtype=bool)
    matrix[world.exposures.user_rows, world.exposures.artwork_rows] = True
    return matrix


def contents(part: object) -> dict[str, Any]:
    """Every array and tuple of a world by its path, arrays as bytes."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, Recipe):
            found |= {f"{field.name}.{path}": inner for path, inner in contents(value).items()}
        elif isinstance(value, np.ndarray):
            found[field.name] = value.tobytes()
        else:
            found[field.name] = value
    return found


def correlation(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Pearson's r."""
    return float(np.corrcoef(x.ravel().astype(float), y.ravel().astype(float))[0, 1])


def within_user(matrix: NDArray[Any]) -> NDArray[Any]:
    """Each user's row less its mean."""
    return np.asarray(matrix - matrix.mean(axis=1, keepdims=True))


def test_the_same_recipe_makes_the_same_world(world: World) -> None:
    """Every array, text and time is equal."""
    assert contents(make_world(RECIPE)) == contents(world)


def test_another_seed_or_size_makes_another_world(world: World) -> None:
    """Not one artwork id is shared, so that the store can tell worlds apart."""
    changes: list[dict[str, Any]] = [{"seed": 8}, {"users": 601}, {"artworks": 901}, {"days": 41}]
    for change in changes:
        other = artwork_ids(dataclasses.replace(RECIPE, **change))
        assert not set(other) & set(world.artworks.ids)


def test_another_end_only_shifts_the_world_in_time(world: World) -> None:
    """The ids, the texts and what happened stay; every time moves by the same step."""
    step = timedelta(days=3, hours=5, minutes=17)
    later = make_world(dataclasses.replace(RECIPE, until=UNTIL + step))
    moved = {"created_at", "retired_at", "joined_at", "left_at", "started_at", "ended_at", "shown_at"}
    for path, value in contents(world).items():
        if path != "recipe" and path.rsplit(".", maxsplit=1)[-1] not in moved:
            assert contents(later)[path] == value, path
    shift = int(step.total_seconds()) * SECOND
    assert (later.exposures.shown_at - world.exposures.shown_at == shift).all()
    assert (later.artworks.created_at - world.artworks.created_at == shift).all()


def test_the_readable_users_come_first_and_have_a_solid_history(world: World) -> None:
    """The README's curl lines can rest on them; emil is near exhaustion."""
    counts = np.bincount(world.exposures.user_rows, minlength=RECIPE.users)
    assert world.users.ids[:5] == READABLE_USERS
    assert (counts[:4] >= 0.06 * RECIPE.artworks).all()
    assert (counts[:4] < 0.5 * RECIPE.artworks).all()
    assert counts[4] > 0.8 * RECIPE.artworks


def test_ids_look_like_the_hosts(world: World) -> None:
    """Artworks have uuids; users nanoids, uuids and numbers; none occurs twice."""
    uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    others = world.users.ids[5:]
    assert all(uuid.fullmatch(name) for name in world.artworks.ids)
    assert len(set(world.artworks.ids)) == RECIPE.artworks
    assert len(set(world.users.ids)) == RECIPE.users
    shapes = Counter("uuid" if uuid.fullmatch(name) else len(name) for name in others)
    assert set(shapes) == {"uuid", 21, 8}
    assert set(world.users.tiers) == set(TIERS)


def test_no_artwork_is_shown_to_a_user_twice(world: World, shown: NDArray[np.bool_]) -> None:
    """As many pairs as exposures."""
    assert shown.sum() == len(world.exposures) > 10_000


def test_nothing_is_shown_before_it_exists_or_once_it_has_left_the_pool(world: World) -> None:
    """Pending artworks never, archived ones only while they were active."""
    shown, works = world.exposures, world.artworks
    statuses = np.array([str(status) for status in works.statuses])
    assert (shown.shown_at >= works.created_at[shown.artwork_rows]).all()
    assert (shown.shown_at < works.retired_at[shown.artwork_rows]).all()
    assert "pending" not in statuses[shown.artwork_rows]
    assert "archived" in statuses[shown.artwork_rows]


def test_a_status_says_whether_an_artwork_is_still_in_the_pool(world: World) -> None:
    """All four statuses occur; active and NULL never leave."""
    leaving: dict[str | None, set[str]] = {"archived": set(), "pending": set(), "active": set(), None: set()}
    for status, retired_at in zip(world.artworks.statuses, world.artworks.retired_at, strict=True):
        leaving[status].add({NEVER: "never", ALWAYS: "always"}.get(int(retired_at), "some day"))
    assert leaving == {"archived": {"some day"}, "pending": {"always"}, "active": {"never"}, None: {"never"}}


def test_sessions_of_a_user_follow_each_other_without_overlap(world: World) -> None:
    """In order of time, after joining and before the end, with the exposures inside."""
    visits, shown, users = world.sessions, world.exposures, world.users
    same_user = visits.user_rows[1:] == visits.user_rows[:-1]
    assert (visits.started_at[1:] >= visits.ended_at[:-1])[same_user].all()
    assert (visits.started_at >= users.joined_at[visits.user_rows]).all()
    assert (visits.ended_at <= users.left_at[visits.user_rows]).all()
    assert visits.ended_at.max() <= RECIPE.end
    assert visits.started_at.min() >= RECIPE.begin
    assert (shown.shown_at >= visits.started_at[shown.session_rows]).all()
    ends = shown.shown_at + (shown.dwell * SECOND).astype(np.int64)
    assert (ends <= visits.ended_at[shown.session_rows] + SECOND).all()
    assert (shown.user_rows == visits.user_rows[shown.session_rows]).all()


def test_sessions_are_of_believable_length_and_mostly_in_the_evening(world: World) -> None:
    """One to sixty artworks, about one a minute, with a peak at about eight where `until` is half past nine."""
    shown = world.exposures
    lengths = np.bincount(shown.session_rows)
    same_session = np.diff(shown.session_rows) == 0
    hours = (shown.shown_at // HOUR) % 24
    assert lengths.min() >= 1
    assert lengths.max() <= 60
    assert 5 < lengths.mean() < 15
    assert 50 < np.median(np.diff(shown.shown_at)[same_session]) / SECOND < 70
    assert 0.4 < np.isin(hours, [18, 19, 20, 21]).mean() < 0.8


def test_dna_populations_have_the_stated_shares(world: World) -> None:
    """Each kind to the nearest artwork or so; the stub is the bulk of the library and only there."""
    shares = np.bincount(world.artworks.dna_kinds, minlength=len(DNA_KINDS)) / RECIPE.artworks
    assert np.abs(shares - DNA_SHARES).max() < 2.5 / RECIPE.artworks * len(DNA_KINDS)
    assert np.allclose(DNA_SHARES, (0.44, 0.15, 0.35, 0.03, 0.01, 0.01, 0.01))
    stub = world.artworks.dna_kinds == STUB
    assert world.artworks.is_library[stub].all()
    assert stub[world.artworks.is_library].mean() > 0.8


def test_dna_texts_are_what_their_kind_says(world: World) -> None:
    """Read by the parser that serving uses; the broken ones break for their own reason."""
    expected = {
        REAL: DnaKind.REAL, FALLBACK: DnaKind.REAL, STUB: DnaKind.STUB, NULL: DnaKind.ABSENT,
        SHORT: DnaKind.BROKEN, NAN: DnaKind.BROKEN, NOT_JSON: DnaKind.BROKEN,
    }  # fmt: skip
    texts = dict(zip(world.artworks.dna_kinds.tolist(), world.artworks.dna, strict=True))
    for kind, text in zip(world.artworks.dna_kinds, world.artworks.dna, strict=True):
        assert read_dna(text)[0] == expected[int(kind)]
    assert texts[SHORT].count(",") == 48
    assert texts[NAN].startswith("[NaN,")
    assert texts[STUB] == "[" + ",".join(["0.5"] * 50) + "]"


def test_real_vectors_keep_to_the_ranges_and_fallbacks_vary_little(world: World) -> None:
    """0-2 for most, up to 3 for 13 and 28, the morph controls in their own; fallbacks lie on four lines."""
    kinds = world.artworks.dna_kinds
    vectors = np.array([read_dna(text)[1] for text in world.artworks.dna])
    real, fallback = vectors[kinds == REAL], vectors[kinds == FALLBACK]
    top = np.full(DNA_TASTE, 2.0)
    top[list(DNA_WIDE)] = 3.0
    assert (real[:, :DNA_TASTE] <= top).all()
    assert (real[:, DNA_WIDE] > 2.0).any()
    assert (real[:, DNA_TASTE:] >= DNA_MORPH[:, 0] - 1e-3).all()
    assert (real[:, DNA_TASTE:] <= DNA_MORPH[:, 1] + 1e-3).all()
    directions = fallback[:, :DNA_TASTE] / np.linalg.norm(fallback[:, :DNA_TASTE], axis=1, keepdims=True)
    assert len(np.unique(np.round(directions, 2)[:, 0])) <= 8
    assert np.linalg.svd(directions, compute_uv=False)[4] < 0.1


def test_five_percent_of_the_prompts_are_in_other_scripts(world: World) -> None:
    """Japanese, Arabic, Cyrillic and emoji, each at least once."""
    foreign = [prompt for prompt in world.artworks.prompts if not prompt.isascii()]
    assert 0.03 < len(foreign) / RECIPE.artworks < 0.07
    for name in ("HIRAGANA", "ARABIC", "CYRILLIC", "SPARKLES"):
        assert any(unicodedata.name(sign, "").startswith(name) for prompt in foreign for sign in prompt), name


def test_what_is_shown_has_nothing_to_do_with_taste(preferences: NDArray[np.float32], shown: NDArray[np.bool_]) -> None:
    """Neither over all pairs nor within a user."""
    assert abs(correlation(shown, preferences)) < 0.02
    assert abs(correlation(shown, within_user(preferences))) < 0.02


def test_what_is_shown_is_mostly_the_newest_and_partly_random(world: World) -> None:
    """Young artworks dominate, far older ones occur."""
    shown = world.exposures
    few = np.bincount(shown.user_rows, minlength=RECIPE.users)[shown.user_rows] < 60
    ages = (shown.shown_at - world.artworks.created_at[shown.artwork_rows])[few] / DAY
    assert np.median(ages) < 3
    assert (ages > 10).mean() > 0.05


def test_dwell_votes_favourites_and_skips_follow_taste(world: World) -> None:
    """With noise: far from perfect, far from nothing."""
    shown = world.exposures
    liking = world.preference(shown.user_rows, shown.artwork_rows, world.progress(shown.shown_at))
    voted = shown.vote != 0
    assert 0.25 < correlation(np.log(shown.dwell), liking) < 0.6
    assert 0.4 < correlation(shown.vote[voted], liking[voted]) < 0.9
    assert liking[shown.favourite].mean() > liking.mean() + 0.15
    assert liking[shown.skip].mean() < liking.mean() - 0.05
    assert np.median(shown.dwell[shown.skip]) < 4 < np.median(shown.dwell[~shown.skip])


def test_signals_are_as_rare_as_in_life(world: World) -> None:
    """About 8% skips, 4% votes and 1.5% favourites, from people who differ in readiness; some idle screens."""
    shown = world.exposures
    assert shown.skip.mean() == pytest.approx(0.08, abs=0.01)
    assert (shown.vote != 0).mean() == pytest.approx(0.04, abs=0.006)
    assert shown.favourite.mean() == pytest.approx(0.015, abs=0.004)
    assert 0.003 < (shown.dwell > 100).mean() < 0.02
    counts = np.bincount(shown.user_rows, minlength=RECIPE.users)
    votes = np.bincount(shown.user_rows, weights=shown.vote != 0, minlength=RECIPE.users)
    busy = counts > 40
    assert (votes[busy] == 0).mean() > 0.2
    assert (votes[busy] / counts[busy]).max() > 0.12


def test_style_look_and_dna_tell_of_taste_but_quality_and_orientation_do_not(
    world: World, preferences: NDArray[np.float32]
) -> None:
    """Share of the within-user variance that each explains by least squares, over the artworks."""
    works = world.artworks
    real = works.dna_kinds == REAL
    dna = np.array([read_dna(text)[1] for text in works.dna])[real]
    styles = np.eye(len(STYLES))[works.style_rows]
    host = np.column_stack([works.quality, [name == "portrait" for name in works.orientations]])
    truth = within_user(preferences).T
    assert explained(styles, truth) > 0.4
    assert explained(works.looks, truth) > 0.3
    assert explained(dna[:, :DNA_TASTE], truth[real]) > 0.3
    assert explained(dna[:, DNA_TASTE:], truth[real]) < 0.05
    assert explained(host, truth) < 0.02


def explained(features: NDArray[Any], truth: NDArray[Any]) -> float:
    """R squared of a linear fit with intercept, pooled over the columns of truth."""
    design = np.column_stack([features, np.ones(len(features))])
    residual = truth - design @ np.linalg.lstsq(design, truth)[0]
    return float(1 - (residual**2).sum() / ((truth - truth.mean(axis=0)) ** 2).sum())


def test_popularity_says_a_little_and_no_more(preferences: NDArray[np.float32]) -> None:
    """The best twenty for all are better than chance and far worse than each user's own best."""
    everybodys = np.argsort(-preferences.mean(axis=0))[:20]
    own = np.sort(preferences, axis=1)[:, -20:].mean()
    assert preferences.mean() + 0.03 < preferences[:, everybodys].mean() < own - 0.2


def test_tastes_drift_for_a_fifth_of_the_people_only(world: World, preferences: NDArray[np.float32]) -> None:
    """Preference on the first day differs from the last day's exactly for those who drift."""
    first = world.preference(np.arange(RECIPE.users)[:, None], np.arange(RECIPE.artworks), 0.0)
    moved = np.abs(first - preferences).max(axis=1) > 1e-3
    assert (moved == world.users.tastes.drifting).all()
    assert 0.1 < moved.mean() < 0.3


def test_preference_broadcasts_and_lies_within_0_and_1(world: World, preferences: NDArray[np.float32]) -> None:
    """One pair, a row and a table agree."""
    assert world.preference(3, 5).shape == ()
    assert np.allclose(world.preference(3, np.arange(10)), preferences[3, :10])
    assert np.allclose(world.preference([3, 4], [5, 6]), preferences[[3, 4], [5, 6]])
    assert preferences.min() > 0
    assert preferences.max() < 1


def test_declared_styles_are_mostly_but_not_always_liked(world: World) -> None:
    """A third declare nothing; a few hold text that is not JSON."""
    texts = world.users.style_preferences
    assert 0.25 < texts.count(None) / RECIPE.users < 0.42
    assert any(text and not text.endswith("}") for text in texts)
    declared = [re.findall(r'"styles":\[(.*?)\]', text or "") for text in texts]
    hits = [
        bool(world.users.tastes.liked[row, STYLES.index(name)])
        for row, found in enumerate(declared)
        for name in re.findall(r'"(.*?)"', "".join(found))
    ]
    assert 0.7 < np.mean(hits) < 0.98


def test_activity_is_heavy_tailed_and_leaves_everybody_something_unseen(world: World, shown: NDArray[np.bool_]) -> None:
    """Some were shown nothing, the median little, a few nearly all; nobody has seen the whole pool."""
    counts = shown.sum(axis=1)
    active = world.artworks.retired_at == NEVER
    coverage = shown[:, active].mean(axis=1)
    assert 0.04 < (counts == 0).mean() < 0.2
    assert np.median(counts) < 30
    assert np.percentile(counts, 99) > 10 * np.median(counts)
    assert coverage.max() < 1
    assert 1 <= (coverage > 0.9).sum() <= 3


@pytest.mark.parametrize(
    ("field", "value"), [("seed", -1), ("users", 0), ("artworks", 0), ("days", 0), ("days", 30_000)]
)
def test_a_bad_recipe_is_refused_by_the_name_of_its_field(field: str, value: int) -> None:
    """The error says which field and which rule."""
    with pytest.raises(BadRecipeError, match=rf"{field} is {value}, but"):
        Recipe(**{"until": UNTIL, field: value})  # type: ignore[arg-type]


def test_an_end_without_time_zone_is_refused() -> None:
    """It would mean another moment on another machine."""
    with pytest.raises(BadRecipeError, match=r"until is .* it needs a time zone"):
        Recipe(until=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


@hypothesis_settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), users=st.integers(1, 40), artworks=st.integers(1, 120), days=st.integers(1, 90))
def test_every_small_world_keeps_its_promises(seed: int, users: int, artworks: int, days: int) -> None:
    """No repeat, nothing shown outside its time in the pool, no overlap, something left for everybody."""
    world = make_world(Recipe(seed=seed, users=users, artworks=artworks, days=days, until=UNTIL))
    shown, works, visits = world.exposures, world.artworks, world.sessions
    pairs = shown.user_rows * artworks + shown.artwork_rows
    assert len(np.unique(pairs)) == len(pairs)
    assert (works.created_at[shown.artwork_rows] <= shown.shown_at).all()
    assert (works.retired_at[shown.artwork_rows] > shown.shown_at).all()
    same_user = visits.user_rows[1:] == visits.user_rows[:-1]
    assert (visits.started_at[1:] >= visits.ended_at[:-1])[same_user].all()
    assert (visits.started_at >= world.users.joined_at[visits.user_rows]).all()
    assert (visits.ended_at <= RECIPE.end).all()
    active = works.retired_at == NEVER
    of_pool = np.bincount(shown.user_rows, weights=active[shown.artwork_rows], minlength=users)
    assert (of_pool < max(active.sum(), 1)).all()
