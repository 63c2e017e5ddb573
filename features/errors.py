"""Every error the project raises on purpose; the docstring of a class is its message."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class VernissageError(Exception):
    """Something in Vernissage went wrong."""

    def __init__(self, **context: Any) -> None:
        """Fill the message (the class docstring) with ``context``."""
        self.context = context
        super().__init__((type(self).__doc__ or "").format(**context))


class BadSettingError(VernissageError):
    """The setting {key} has the value {value!r}: {rule}."""


class BadDatabaseUrlError(BadSettingError):
    """{key} cannot be read: it must be like postgresql://user:password@host:5432/database. It is not shown here."""


class PostgresNotFoundError(VernissageError):
    """No PostgreSQL was found. Set DATABASE_URL, install PostgreSQL, or `pip install vernissage[embedded]`."""


class PostgresFailedError(VernissageError):
    """PostgreSQL did not {action}: {reason}{see}."""

    def __init__(self, *, action: str, reason: str, log: Path | None = None) -> None:
        """Name the log where there is one by now."""
        super().__init__(action=action, reason=reason, see=f". Its log is {log}" if log and log.exists() else "")


class DatabaseUnavailableError(VernissageError):
    """The database cannot be reached: {reason}. Start it with `vernissage db start` or check DATABASE_URL."""


class QueueFullError(VernissageError):
    """{waiting} are waiting already, of at most {most}. Send it again in a moment."""


class MigrationChangedError(VernissageError):
    """Migration {name} was applied with another text (checksum {applied}, now {found}). Add a new migration instead."""


class HostTablesMissingError(VernissageError):
    """The host's tables {tables} are missing in schema public. Use `vernissage migrate --standalone` to create them."""


class SchemaMissingError(VernissageError):
    """The schema vernissage is missing in the database. Run `vernissage migrate` first."""


class BadDnaError(VernissageError):
    """The DNA vector is unusable: {rule}."""


class BadBundleError(VernissageError):
    """The bundle {path} is refused: {reason}."""


class CannotScoreError(VernissageError):
    """The ranker {ranker} cannot score this user: {reason}."""


class BadImportError(VernissageError):
    """The file {path} cannot be imported: {reason}."""


class BadRecipeError(VernissageError):
    """The synthetic world cannot be made: {field} is {value}, but {rule}."""


class PoolNotEmptyError(VernissageError):
    """The database already holds {artworks} artworks and {users} users. A synthetic world needs an empty pool."""


class TooLittleDataError(VernissageError):
    """Too little to train {model}: {users} users, {interactions} signals; {min_users} users with likes are needed."""


class TooFewSessionsError(VernissageError):
    """Too little to fit demand: {found} {what}; {least} are needed."""


class TooManyArtworksError(VernissageError):
    """Too many artworks to train {model}: {artworks}; it inverts a dense matrix and takes {most} at most."""


class UnknownModelError(VernissageError):
    """There is no model called {model!r}; there are {known}."""


class GuardrailError(VernissageError):
    """Version {version} is not published: {reason}. `--force` publishes it anyway."""


class TrackingError(VernissageError):
    """The model registry says: {reason}."""


class ExtraMissingError(VernissageError):
    """The package {module} is missing for this command. Run `pip install "vernissage[{extra}]"`."""


class ServiceFailedError(VernissageError):
    """The service stopped: {reason}."""


class PortUnusableError(VernissageError):
    """Nothing was started: {host}:{port} cannot be had: {reason}. Name another: `--port`, `PORT=... make demo`."""


class BenchmarksMissingError(VernissageError):
    """There are no benchmarks in {folder}: they come with a clone of the project, not with the installed package."""


class LoadFailedError(VernissageError):
    """The load failed: {reason}."""


class NoEarlierVersionError(VernissageError):
    """There is no earlier version to roll back to: {reason}."""


class GenerationFailedError(VernissageError):
    """The order {order_id} was not delivered: {reason}."""

    @property
    def charged(self) -> bool:
        """Whether the provider has its money all the same."""
        return bool(self.context.get("charged", False))

    @property
    def blameless(self) -> bool:
        """Whether it says nothing about how the provider is doing: its breaker does not count it."""
        return bool(self.context.get("blameless", False))


class BudgetTooSmallError(VernissageError):
    """Not one image can be ordered: {field} comes to {value:g} at once, and an image takes {least:g}."""


class BadExperimentError(VernissageError):
    """The experiment is refused: {field}: {rule}."""


class ExperimentConflictError(VernissageError):
    """The experiment {name} cannot be changed so: {rule}."""


class UnknownExperimentError(VernissageError):
    """There is no experiment called {name!r}."""


class BadFlagError(VernissageError):
    """The flag {name} is refused: {rule}."""


class UnknownListError(VernissageError):
    """There is no list {recommendation_id}: it was never served, or its user has been erased since."""


class WeakEvidenceError(VernissageError):
    """The log says too little of the policy {policy}: {reason}; {rule}."""
