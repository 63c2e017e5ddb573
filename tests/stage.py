"""What an evidence script stands on: a PostgreSQL of its own in a temporary home, and the one line it ends with."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from features import postgres
from features.database import connect
from features.migrate import migrate
from features.settings import Settings


@contextlib.contextmanager
def stage(**settings: Any) -> Iterator[Settings]:
    """Settings with a fresh, durable, migrated stand-alone database and a home that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="vernissage-evidence-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # as root the server runs as another account, which must get in
        cluster = Settings(home=str(Path(folder) / "cluster"))
        url = postgres.start(cluster)
        try:
            with connect(url) as connection:
                migrate(connection, standalone=True)
            yield Settings(home=str(Path(folder) / "home"), database_url=url, **settings)
        finally:
            postgres.stop(cluster)


def conclude(name: str, figures: Mapping[str, Any], *, met: bool) -> None:
    """Print the line that others read."""
    print(json.dumps({"name": name, "figures": figures, "met": met}))  # noqa: T201 - what the script is for
