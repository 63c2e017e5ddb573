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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from features.errors import BadBundleError

MANIFEST = "manifest.json"
ARRAYS = "arrays.npz"
FORMAT = 1
PROBE_TOLERANCE = 1e-4  # float32 sums differ between BLAS builds by less


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself."""

    format: int = FORMAT
    kind: Literal["factors", "content"]
    model: str  # "nmf", "popularity", "content"
    version: str
    fold_in: Literal["nonnegative", "constant", "none"]
    created_at: str  # ISO 8601, UTC
    snapshot: str  # sha256 of the data it was trained on
    half_life_days: float
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


def _check_arrays(folder: Path, manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> None:
    """Shapes, types and finiteness of what the ranker of this kind reads."""
    if manifest.kind == "content":
        return
    for name in ("artwork_ids", "factors", "prior"):
        if name not in arrays:
            raise BadBundleError(path=folder, reason=f"the array {name} is missing")
    count = arrays["artwork_ids"].size
    if arrays["artwork_ids"].shape != (count,) or count == 0 or len(np.unique(arrays["artwork_ids"])) != count:
        raise BadBundleError(path=folder, reason="artwork_ids must be a row of distinct ids and not empty")
    if manifest.fold_in == "nonnegative" and not {"projection", "gram"} <= set(arrays):
        raise BadBundleError(path=folder, reason="a non-negative fold-in needs the arrays projection and gram")
    width = arrays["factors"].shape[-1] if arrays["factors"].ndim else 0
    shapes = {"factors": (count, width), "prior": (count,), "projection": (count, width), "gram": (width, width)}
    for name, shape in shapes.items():
        if name in arrays and arrays[name].shape != shape:
            raise BadBundleError(path=folder, reason=f"{name} has the shape {arrays[name].shape}, not {shape}")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadBundleError(path=folder, reason=f"{name} holds NaN or infinity")


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
