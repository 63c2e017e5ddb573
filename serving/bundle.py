"""A model on disk: a manifest, `.npz` arrays and checksums; never a pickle, nothing about users.

    <folder>/manifest.json   kind, model, version, fold-in, parameters, metrics, sha256 of every other file
    <folder>/arrays.npz      numpy arrays, loaded with allow_pickle=False

The digest of a bundle is the sha256 of its manifest, which holds the sha256 of the arrays.
Loading checks everything that serving relies on; what fails is refused with BadBundleError.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from features import content
from features.errors import BadBundleError
from serving.generation.demand import STORED, Forecast, forecast_arrays, make_forecast, wrong_forecast

MANIFEST = "manifest.json"
ARRAYS = "arrays.npz"
FORMAT = 1
Kind = Literal["factors", "items", "content", "blend"]
FoldIn = Literal["nonnegative", "regularised", "linear", "constant", "none"]
SHARED = ("artwork_ids", "prior")
CONTENT = content.LENGTH
FOLD_IN_ARRAYS: dict[FoldIn, tuple[str, ...]] = {
    "nonnegative": ("projection", "gram"),
    "regularised": ("gram", "ridge"),
    "linear": ("projection",),
    "constant": (),
    "none": (),
}
FOLD_IN_NAMES = {"nonnegative": "non-negative"} | {name: name for name in ("regularised", "linear", "constant", "none")}
PROBE_TOLERANCE = 1e-4  # float32 sums differ between BLAS builds by less


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One ranker of a bundle; its arrays are called "<name>/<array>", or plainly "<array>" without a name."""

    name: str
    kind: Literal["factors", "items", "content"]
    fold_in: FoldIn
    weight: float = 1.0


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself."""

    format: int = FORMAT
    kind: Kind
    model: str  # "nmf", "als", "blend", "content"
    version: str
    fold_in: FoldIn
    parts: tuple[Part, ...] = ()  # of a blend
    created_at: str  # ISO 8601, UTC
    snapshot: str  # sha256 of the data it was trained on
    half_life_days: float
    content_version: int = 1  # of the content vectors it was trained on
    params: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    files: dict[str, str] = {}


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle; arrays are read-only and shared by all requests."""

    manifest: Manifest
    arrays: Mapping[str, np.ndarray]
    digest: str

    @property
    def label(self) -> str:
        """How answers and logs name it: model and version."""
        return f"{self.manifest.model}:{self.manifest.version}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it is made of: the parts of a blend, else the one that it is itself."""
        return parts_of(self.manifest)

    @cached_property
    def forecast(self) -> Forecast | None:
        """The demand forecast that was fitted with it, or None."""
        arrays = forecast_arrays(self.arrays)
        return make_forecast(arrays) if arrays else None

    def arrays_of(self, part: Part) -> dict[str, np.ndarray]:
        """The arrays that the ranker of this part reads, the shared ones among them."""
        return arrays_of(self.arrays, part)


def save(folder: Path, manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> Bundle:
    """Write a bundle into ``folder`` (made when absent) and return it as loaded back."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_npz(folder / ARRAYS, arrays)
    complete = msgspec.structs.replace(manifest, files={ARRAYS: _sha256(folder / ARRAYS)})
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(complete), indent=2))
    return load(folder)


def load(folder: Path) -> Bundle:
    """Read and check a bundle. Raises BadBundleError naming what is wrong."""
    manifest = _read_manifest(folder)
    if manifest.format != FORMAT:
        raise BadBundleError(path=folder, reason=f"format {manifest.format} is not {FORMAT}")
    if ARRAYS not in manifest.files:
        raise BadBundleError(path=folder, reason=f"the manifest names no {ARRAYS}")
    for name, checksum in manifest.files.items():
        if not (folder / name).is_file():
            raise BadBundleError(path=folder, reason=f"{name} is missing")
        if _sha256(folder / name) != checksum:
            raise BadBundleError(path=folder, reason=f"the checksum of {name} does not match the manifest")
    arrays = _read_npz(folder)
    _check_arrays(folder, manifest, arrays)
    return Bundle(manifest, arrays, _sha256(folder / MANIFEST))


def without_rankers(bundle: Bundle) -> Bundle:
    """The bundle with the arrays of its forecast alone: what rankers hold of the others may be let go."""
    kept = {name: array for name, array in bundle.arrays.items() if name.startswith(STORED)}
    return replace(bundle, arrays=kept)


def _read_manifest(folder: Path) -> Manifest:
    """Parse the manifest."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except OSError as error:
        raise BadBundleError(path=folder, reason=f"{MANIFEST} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadBundleError(path=folder, reason=f"{MANIFEST} is not a manifest: {error}") from error


def _read_npz(folder: Path) -> dict[str, np.ndarray]:
    """Load all arrays, read-only and without pickle."""
    try:
        with (folder / ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
    except Exception as error:  # a spoilt archive trips zipfile and numpy up in a dozen ways
        raise BadBundleError(path=folder, reason=f"{ARRAYS} cannot be read: {error}") from error
    for array in arrays.values():
        array.setflags(write=False)
    return arrays


def parts_of(manifest: Manifest) -> tuple[Part, ...]:
    """The parts of a blend, else the one that the bundle is itself."""
    if manifest.kind == "blend":
        return manifest.parts
    return (Part(name="", kind=manifest.kind, fold_in=manifest.fold_in),)


def arrays_of(arrays: Mapping[str, np.ndarray], part: Part) -> dict[str, np.ndarray]:
    """A part's own arrays by their plain names, and the shared ones."""
    shared = {name: arrays[name] for name in SHARED if name in arrays}
    prefix = f"{part.name}/" if part.name else ""
    return shared | {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _check_arrays(folder: Path, manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> None:
    """Shapes, types and finiteness of what the rankers of this bundle read."""
    if manifest.kind == "blend" and not manifest.parts:
        raise BadBundleError(path=folder, reason="a blend must name its parts")
    if manifest.content_version != content.VERSION and any(_of_content(name) for name in arrays):
        reason = f"it was trained on version {manifest.content_version} of content vectors, not {content.VERSION}"
        raise BadBundleError(path=folder, reason=reason)
    count = 0 if manifest.kind == "content" else _count_artworks(folder, arrays)
    for part in parts_of(manifest):
        if reason := _wrong_in(part, arrays_of(arrays, part), count):
            raise BadBundleError(path=folder, reason=reason)
    if reason := wrong_forecast(forecast_arrays(arrays)):
        raise BadBundleError(path=folder, reason=reason)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadBundleError(path=folder, reason=f"{name} holds NaN or infinity")


def _of_content(name: str) -> bool:
    """Whether an array means something for one version of content vectors only."""
    return name.rpartition("/")[2] in {"content_map", "taste_mean", "taste_ridge"}


def _count_artworks(folder: Path, arrays: Mapping[str, np.ndarray]) -> int:
    """How many artworks the bundle knows; they must be told apart."""
    for name in SHARED:
        if name not in arrays:
            raise BadBundleError(path=folder, reason=f"the array {name} is missing")
    ids = arrays["artwork_ids"]
    count = ids.size
    if ids.shape != (count,) or count == 0 or len(set(ids.tolist())) != count:
        raise BadBundleError(path=folder, reason="artwork_ids must be a row of distinct ids and not empty")
    return count


def _wrong_in(part: Part, arrays: Mapping[str, np.ndarray], count: int) -> str:
    """What is missing or of a wrong shape among a part's arrays; empty when it can score ``count`` artworks."""
    wanted = {"factors": ("factors",), "items": ("indptr", "indices", "values"), "content": ()}[part.kind]
    for name in wanted:
        if name not in arrays:
            return f"the array {name} is missing"
    if not set(FOLD_IN_ARRAYS[part.fold_in]) <= set(arrays):
        return f"a {FOLD_IN_NAMES[part.fold_in]} fold-in needs the arrays {' and '.join(FOLD_IN_ARRAYS[part.fold_in])}"
    if ("taste_mean" in arrays) != ("taste_ridge" in arrays):
        return "the arrays taste_mean and taste_ridge belong together"
    factors = arrays.get("factors", np.zeros((count, 0)))
    width = factors.shape[-1] if factors.ndim else 0
    stored = arrays.get("indices", np.zeros(0)).size
    shapes = {
        "factors": (count, width), "prior": (count,), "projection": (count, width), "gram": (width, width),
        "offset": (count,), "content_map": (CONTENT + 1, width), "ridge": (3,),
        "taste_mean": (CONTENT + 1,), "taste_ridge": (CONTENT + 1, CONTENT + 1),
        "indptr": (count + 1,), "indices": (stored,), "values": (stored,),
    }  # fmt: skip
    for name, shape in shapes.items():
        if name in arrays and arrays[name].shape != shape:
            return f"{name} has the shape {arrays[name].shape}, not {shape}"
    return _wrong_neighbours(arrays, count) if part.kind == "items" else ""


def _wrong_neighbours(arrays: Mapping[str, np.ndarray], count: int) -> str:
    """What is wrong with the rows of a sparse matrix (count, count); scipy would crash on what this refuses."""
    indptr, indices = arrays["indptr"], arrays["indices"]
    if indptr.dtype.kind != "i" or indices.dtype.kind != "i":
        return "indptr and indices must be whole numbers"
    if indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        return "indptr must rise from 0 to the number of indices"
    if len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < count):
        return f"indices must be within 0 and {count - 1}"
    return ""


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Like numpy.savez, but with fixed time stamps, so that equal arrays give equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(arrays[name]), allow_pickle=False)


def _sha256(path: Path) -> str:
    """The hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
