"""Real interactions from import to exhaustion: train, judge, publish, serve, and walk one user to the end.

python tests/evidence/real_input.py [--data FILE] [--user ID]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from features.database import connect
from features.settings import Settings
from tests.service import REPOSITORY, Service
from tests.stage import conclude, stage
from training import nmf, popularity
from training.importing import import_interactions
from training.publish import publish
from training.run import Trained, train

DATA = REPOSITORY.parent / "shared" / "data" / "amazon_music" / "interactions.parquet"
LIMIT = 200
MOST_LISTS = 1_000
console = Console()


def main() -> None:
    """Run it all and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="interactions with timestamps")
    parser.add_argument("--user", help="whom to walk; default: the user with the most interactions")
    given = parser.parse_args()
    with stage() as settings:
        figures = _learn(settings, given.data)
        with Service(settings.database_url, settings.home_path) as service:
            figures |= _walk(service, given.user or _busiest(settings), settings)
    fine = figures["repeats"] == 0 and figures["left_unseen"] == 0 and figures["last_reason"] == "exhausted"
    conclude("real-input", figures, met=bool(fine and figures["model_live"] and figures["rejected"] == 0))


def _learn(settings: Settings, data: Path) -> dict[str, Any]:
    """Import, train both models and publish the first."""
    with connect(settings.database_url, autocommit=True) as connection:
        summary = import_interactions(connection, data)
        trained = {
            "nmf": _timed(lambda: train(nmf.make_learner(nmf.NmfConfig()), settings, connection, on_step=_say)),
            "popularity": _timed(lambda: train(popularity.make_learner(), settings, connection, on_step=_say)),
        }
        publish(trained["nmf"][0].version, settings, connection)
    _show(trained)
    return {
        "interactions": summary.rows,
        "rejected": summary.rejected,
        "users": summary.users,
        "artworks": summary.artworks,
        "import_seconds": round(summary.seconds, 1),
        "split": trained["nmf"][0].split,
        **{f"{model}_{name}": round(value, 4) for model, (run, _) in trained.items() for name, value in _main(run)},
        **{f"{model}_seconds": round(seconds, 1) for model, (_, seconds) in trained.items()},
    }


def _walk(service: Service, user_id: str, settings: Settings) -> dict[str, Any]:
    """Ask, show everything, ask again, until nothing is left; repeats are counted from our own record."""
    seen = _already_seen(settings, user_id)
    before = service.client.get(f"/v1/users/{user_id}/coverage").json()
    shown: Counter[str] = Counter(seen)
    lists, answer, rungs = 0, service.next(user_id, "walk", limit=LIMIT), Counter[int]()
    model, started, last = answer["model"], time.monotonic(), []
    while answer["returned"] and lists < MOST_LISTS:
        lists += 1
        ids = [item["artwork_id"] for item in answer["items"]]
        rungs.update(item["rung"] for item in answer["items"])
        shown.update(ids)
        service.display(user_id, ids, "walk")
        last = [*last[-2:], _brief(answer)]
        answer = service.next(user_id, "walk", limit=LIMIT)
    after = service.client.get(f"/v1/users/{user_id}/coverage").json()
    for line in [*last, _brief(answer)]:
        console.print(line)
    return {
        "user": user_id,
        "model": model,
        "model_live": model is not None and model.startswith("nmf:"),
        "seen_before": len(seen),
        "coverage_before": round(before["coverage"], 4),
        "coverage_after": after["coverage"],
        "lists": lists,
        "displays": sum(shown.values()) - len(seen),
        "repeats": sum(count - 1 for count in shown.values()),
        "left_unseen": after["unseen"],
        "last_returned": answer["returned"],
        "last_shortfall": answer["shortfall"],
        "last_reason": answer["reason"],
        "slots_by_rung": {str(rung): count for rung, count in sorted(rungs.items())},
        "walk_seconds": round(time.monotonic() - started, 1),
    }


def _busiest(settings: Settings) -> str:
    """The user with the most interactions."""
    with connect(settings.database_url) as connection:
        row = connection.execute(
            "SELECT user_id FROM vernissage.seen GROUP BY user_id ORDER BY count(*) DESC, user_id LIMIT 1"
        ).fetchone()
    return str(row[0]) if row else ""


def _already_seen(settings: Settings, user_id: str) -> list[str]:
    """What the import says the user has seen, read past the service."""
    with connect(settings.database_url) as connection:
        rows = connection.execute(
            "SELECT artwork_id FROM public.user_art_impressions WHERE user_id = %s", (user_id,)
        ).fetchall()
    return [row[0] for row in rows]


def _timed(work: Any) -> tuple[Trained, float]:
    """A training and its seconds."""
    started = time.monotonic()
    return work(), time.monotonic() - started


def _main(run: Trained) -> list[tuple[str, float]]:
    """The metrics that the figures carry."""
    return [(name, value) for name, value in run.metrics.items() if not name.startswith("judged")]


def _brief(answer: dict[str, Any]) -> dict[str, Any]:
    """A list without its items."""
    return {name: answer[name] for name in ("requested", "returned", "shortfall", "reason", "rung", "unseen_total")}


def _say(step: str) -> None:
    """Progress."""
    console.log(step)


def _show(trained: dict[str, tuple[Trained, float]]) -> None:
    """The metrics side by side."""
    names = sorted({name for run, _ in trained.values() for name in run.metrics})
    table = Table("metric", *trained, title="time split")
    for name in names:
        table.add_row(name, *(f"{run.metrics[name]:.4f}" for run, _ in trained.values()))
    console.print(table)


if __name__ == "__main__":
    main()
