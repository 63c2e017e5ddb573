"""A version of the registry in an arm or as the canary: it is brought to the workers, and what is live stays live."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
from typer.testing import Result

from features.settings import Settings
from serving import bundle as bundles
from tests.experiments import ARMS, definition, give_past


def test_starting_brings_the_arms_version_to_the_workers_and_leaves_the_live_one(
    ready: Settings, connection: psycopg.Connection, command: Callable[..., Result], tmp_path: Path
) -> None:
    """The bundle is verified and lies where the row says."""
    assert ready
    assert command("train", "popularity", "--publish").exit_code == 0
    assert command("train", "nmf", "--components", "4").exit_code == 0
    give_past(connection)
    file = tmp_path / "newer.yaml"
    arms = [ARMS[0], {"name": "newer", "policy": {"model": "2"}}]
    file.write_bytes(msgspec.yaml.encode(definition("newer", arms=arms)))
    assert command("experiment", "create", str(file)).exit_code == 0
    assert "running" in command("experiment", "start", "newer").stdout
    rows = connection.execute("SELECT alias, version, bundle_path, digest FROM vernissage.live_models").fetchall()
    assert {(alias, version) for alias, version, _, _ in rows} == {("champion", "1"), ("version-2", "2")}
    ((path, digest),) = [(path, digest) for alias, _, path, digest in rows if alias == "version-2"]
    assert bundles.load(Path(path)).digest == digest

    told = command("flag", "canary", "1", "--share", "0.1").stdout
    assert told == 'canary: "1" for 10.00% of the users\n'
    aliases = connection.execute("SELECT alias, version FROM vernissage.live_models").fetchall()
    assert set(aliases) == {("champion", "1"), ("version-1", "1"), ("version-2", "2")}
