"""Bundles on disk: what is saved comes back, equal arrays give equal bytes, and every corruption is refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features.errors import BadBundleError
from serving import bundle as bundles
from serving.bundle import ARRAYS, MANIFEST, Bundle, Manifest, Part
from training.probes import check_probes, make_probes

Arrays = dict[str, np.ndarray]


def manifest(**changes: Any) -> Manifest:
    """The manifest of a small NMF bundle."""
    given_fields: dict[str, Any] = {
        "kind": "factors", "model": "nmf", "version": "7", "fold_in": "nonnegative",
        "created_at": "2026-03-01T00:00:00+00:00", "snapshot": "ab" * 32, "half_life_days": 90.0,
    }  # fmt: skip
    return Manifest(**{**given_fields, **changes})


def arrays() -> Arrays:
    """The arrays of a small NMF bundle, probes included."""
    draw = np.random.default_rng(5)
    components = draw.gamma(1.0, size=(4, 30))
    made = {
        "artwork_ids": np.array([f"artwork-{row:02}" for row in range(30)]),
        "factors": components.T.astype(np.float32),
        "projection": (components.T / 3).astype(np.float32),
        "gram": components @ components.T,
        "prior": draw.random(30, dtype=np.float32),
    }
    return {**made, **make_probes(Bundle(manifest(), made, ""))}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A sound bundle on disk."""
    bundles.save(tmp_path / "bundle", manifest(), arrays())
    return tmp_path / "bundle"


def reseal(folder: Path, made: Arrays | None = None, contents: bytes | None = None, **changes: Any) -> None:
    """Put something else in place of the arrays and the manifest's fields, under right checksums."""
    if contents is not None:
        (folder / ARRAYS).write_bytes(contents)
    if made is not None:
        np.savez(folder / ARRAYS, allow_pickle=True, **made)
    told = json.loads((folder / MANIFEST).read_bytes())
    told["files"] = {ARRAYS: hashlib.sha256((folder / ARRAYS).read_bytes()).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps({**told, **changes}))


def replaced(**changes: Any) -> Callable[[Path], None]:
    """A corruption that replaces arrays (None: takes them away) behind right checksums."""

    def corrupt(folder: Path) -> None:
        made = {name: value for name, value in {**arrays(), **changes}.items() if value is not None}
        reseal(folder, made)

    return corrupt


def with_value(name: str, value: float) -> np.ndarray:
    """An array with one wrong value in it."""
    array = arrays()[name].copy()
    array.flat[3] = value
    return array


def test_what_is_saved_comes_back(saved: Path) -> None:
    """Manifest and arrays, read-only, under a label of model and version."""
    loaded = bundles.load(saved)
    assert msgspec.structs.replace(loaded.manifest, files={}) == manifest()
    assert loaded.label == "nmf:7"
    for name, array in arrays().items():
        np.testing.assert_array_equal(loaded.arrays[name], array)
        assert loaded.arrays[name].dtype == array.dtype
        assert not loaded.arrays[name].flags.writeable
    check_probes(loaded, saved)


def test_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    """Whatever their order and the time of day; one changed number changes the digest."""
    once = bundles.save(tmp_path / "once", manifest(), arrays())
    again = bundles.save(tmp_path / "again", manifest(), dict(reversed(arrays().items())))
    assert (tmp_path / "once" / ARRAYS).read_bytes() == (tmp_path / "again" / ARRAYS).read_bytes()
    other = bundles.save(tmp_path / "other", manifest(), {**arrays(), "prior": with_value("prior", 0.25)})
    assert once.digest == again.digest != other.digest


def test_a_content_bundle_needs_no_arrays(tmp_path: Path) -> None:
    """It is saved, loaded and verified like any other."""
    about = manifest(kind="content", model="content", fold_in="none")
    saved_bundle = bundles.save(tmp_path, about, make_probes(Bundle(about, {}, "")))
    check_probes(saved_bundle, tmp_path)
    assert saved_bundle.arrays == {}


def test_a_blend_that_came_down_to_content_needs_no_probes(tmp_path: Path) -> None:
    """As with few people to learn from: it is saved, loaded and verified, though no artwork's behaviour scores."""
    about = manifest(
        kind="blend", model="blend", fold_in="none", parts=(Part(name="content", kind="content", fold_in="none"),)
    )
    made = {"artwork_ids": np.array(["one", "other"]), "prior": np.ones(2, np.float32)}
    saved_bundle = bundles.save(tmp_path, about, {**made, **make_probes(Bundle(about, made, ""))})
    check_probes(saved_bundle, tmp_path)
    assert set(saved_bundle.arrays) == set(made)


@pytest.mark.parametrize(
    ("corrupt", "reason"),
    [
        (lambda folder: (folder / ARRAYS).unlink(), "arrays.npz is missing"),
        (lambda folder: (folder / MANIFEST).unlink(), "manifest.json cannot be read"),
        (shutil.rmtree, "manifest.json cannot be read"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "is not a manifest"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "is not a manifest"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe"), "is not a manifest"),
        (lambda folder: reseal(folder, kind="forest"), "is not a manifest"),
        (lambda folder: reseal(folder, version=7), "is not a manifest"),
        (lambda folder: reseal(folder, format=2), "format 2 is not 1"),
        (lambda folder: reseal(folder, files={}), "names no arrays.npz"),
        (lambda folder: (folder / ARRAYS).write_bytes(b"PK"), "checksum of arrays.npz does not match"),
        (lambda folder: reseal(folder, contents=b"PK"), "arrays.npz cannot be read"),
        (replaced(factors=None), "the array factors is missing"),
        (replaced(gram=None), "needs the arrays projection and gram"),
        (replaced(prior=arrays()["prior"][1:]), "prior has the shape (29,), not (30,)"),
        (replaced(factors=with_value("factors", np.nan)), "factors holds NaN or infinity"),
        (replaced(projection=with_value("projection", np.inf)), "projection holds NaN or infinity"),
        (replaced(gram=with_value("gram", np.nan)), "gram holds NaN or infinity"),
        (replaced(gram=arrays()["gram"][:2]), "gram has the shape (2, 4), not (4, 4)"),
        (replaced(projection=arrays()["projection"][:, :2]), "projection has the shape (30, 2), not (30, 4)"),
        (replaced(artwork_ids=np.array(["same"] * 30)), "distinct ids"),
        (replaced(artwork_ids=np.array([], dtype=np.str_)), "not empty"),
        (replaced(artwork_ids=np.array([object()] * 30)), "arrays.npz cannot be read"),
    ],
)
def test_every_corruption_is_refused(saved: Path, corrupt: Callable[[Path], Any], reason: str) -> None:
    """By an error that names the folder and what is wrong, whether or not the checksums were made to fit."""
    corrupt(saved)
    with pytest.raises(BadBundleError) as refusal:
        bundles.load(saved)
    assert reason in str(refusal.value)
    assert str(saved) in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"factors": -arrays()["factors"]}, "its scores differ from training's by"),
        ({"prior": arrays()["prior"] + np.float32(0.5)}, "its scores differ from training's by"),
        ({"artwork_ids": arrays()["artwork_ids"][::-1]}, None),
        ({"gram": -arrays()["gram"]}, "gram is no gram matrix"),
        ({"probe_scores": None}, "it holds no probes"),
        ({"probe_rows": None}, "it cannot score"),
        ({"probe_rows": arrays()["probe_rows"] + 1000}, "it cannot score"),
        ({"probe_scores": arrays()["probe_scores"][:, :3]}, "it cannot score"),
    ],
)
def test_a_bundle_that_scores_otherwise_is_refused(saved: Path, changes: Arrays, reason: str | None) -> None:
    """Sound files, wrong numbers: the probes tell. What the ids are called is no matter of scores."""
    replaced(**changes)(saved)
    loaded = bundles.load(saved)
    if reason is None:
        check_probes(loaded, saved)
        return
    with pytest.raises(BadBundleError, match=reason):
        check_probes(loaded, saved)


@given(place=st.integers(0), flip=st.integers(1, 255), name=st.sampled_from([ARRAYS, MANIFEST]))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_a_flipped_byte_never_passes_unnoticed(saved: Path, place: int, flip: int, name: str) -> None:
    """In the arrays it is refused; in the manifest it is refused or changes the digest that was published."""
    original = (saved / name).read_bytes()
    published = bundles.load(saved).digest
    (saved / name).write_bytes(with_flip(original, place, flip))
    try:
        digest = bundles.load(saved).digest
    except BadBundleError:
        digest = "refused"
    finally:
        (saved / name).write_bytes(original)
    assert digest == "refused" if name == ARRAYS else digest != published


@given(place=st.integers(0), flip=st.integers(1, 255))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
def test_a_spoilt_file_under_a_right_checksum_never_crashes(saved: Path, place: int, flip: int) -> None:
    """Whoever wrote the checksum: the bundle loads, perhaps with other numbers, or is refused."""
    original = {name: (saved / name).read_bytes() for name in (ARRAYS, MANIFEST)}
    reseal(saved, contents=with_flip(original[ARRAYS], place, flip))
    with contextlib.suppress(BadBundleError):
        check_probes(bundles.load(saved), saved)
    for name, content in original.items():
        (saved / name).write_bytes(content)


def with_flip(content: bytes, place: int, flip: int) -> bytes:
    """The bytes with one of them changed."""
    spoilt = bytearray(content)
    spoilt[place % len(content)] ^= flip
    return bytes(spoilt)


def test_probes_say_nothing_of_users() -> None:
    """They are the same for any bundle of this size: drawn from a seed, not from people."""
    again = {name: array for name, array in arrays().items() if name.startswith("probe_")}
    other = make_probes(Bundle(manifest(), {**arrays(), "factors": arrays()["factors"] + 1}, ""))
    for name in ("probe_rows", "probe_weights", "probe_candidates"):
        np.testing.assert_array_equal(again[name], other[name])
