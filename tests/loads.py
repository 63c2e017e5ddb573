"""What the measurements of load stand on: people with a past, and what processes, memory and database do meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
import psycopg
from rich.table import Table

from features.database import connect
from tests.benchmarks.world import ARTWORKS
from tests.service import Service
from training.load.checks import Size, measure

LOOK_SECONDS = 0.2
GENERATOR, WORKERS, REST, DATABASE = "generator", "service: workers", "service: BentoML's own", "PostgreSQL"

BUSY, FULL = 0.9, 0.85  # shares of the machine, and of a core, above which they are what is short

PAST = (
    "INSERT INTO public.users (id) SELECT %(people)s || '-' || u FROM generate_series(0, %(count)s - 1) AS u",
    """INSERT INTO vernissage.seen (user_id, artwork_key, seen_at)
       SELECT %(people)s || '-' || u, k.artwork_key, now() - interval '1 day' - n * interval '7 minutes'
       FROM generate_series(0, %(count)s - 1) AS u, generate_series(1, %(each)s) AS n,
            (SELECT artwork_key, row_number() OVER (ORDER BY artwork_key) AS place FROM vernissage.artwork_keys) AS k
       WHERE k.place = 1 + (u * 7919 + n * 31) %% %(artworks)s""",
    """INSERT INTO public.user_art_impressions (id, user_id, artwork_id, viewed_at)
       SELECT gen_random_uuid()::text, s.user_id, k.artwork_id, s.seen_at AT TIME ZONE 'UTC'
       FROM vernissage.seen AS s JOIN vernissage.artwork_keys AS k USING (artwork_key)
       WHERE s.user_id LIKE %(people)s || '-%%'""",
    """INSERT INTO vernissage.absorbed (user_id, host_rows, host_latest)
       SELECT user_id, count(*), max(viewed_at) FROM public.user_art_impressions
       WHERE user_id LIKE %(people)s || '-%%' GROUP BY user_id""",
    "INSERT INTO vernissage.hosted_users SELECT id FROM public.users ON CONFLICT DO NOTHING",
    """INSERT INTO vernissage.events (event_key, user_id, artwork_key, kind, at, session_id, value)
       SELECT gen_random_uuid(), s.user_id, s.artwork_key, k.kind, s.seen_at, 'past', k.value
       FROM vernissage.seen AS s CROSS JOIN (VALUES ('displayed', NULL), ('dwell', 60)) AS k (kind, value)
       WHERE s.user_id LIKE %(people)s || '-%%'""",
    """INSERT INTO vernissage.sessions (user_id, session_id, expires_at, held, passes)
       SELECT id, 'past', now() - interval '1 day', '{}', '{}' FROM public.users WHERE id LIKE %(people)s || '-%%'""",
    """INSERT INTO vernissage.served_lists (recommendation_id, user_id, session_id, served_at, policy, requested,
           artwork_keys, scores, rungs, propensities, candidate_hash, candidate_size, excluded)
       SELECT gen_random_uuid(), u.id, 'past', now() - n * interval '1 day', 'ladder-1', 3,
              ARRAY[n, n + 1, n + 2], ARRAY[1, 1, 1], ARRAY[4, 4, 4], ARRAY[1, 1, 1], n, 100, '{}'
       FROM public.users AS u, generate_series(1, 3) AS n WHERE u.id LIKE %(people)s || '-%%'""",
)
WAITS = """
SELECT coalesce(CASE WHEN state = 'active' THEN coalesce(wait_event_type || ': ' || wait_event, 'on the processor')
                     WHEN state = 'idle in transaction' THEN 'in a transaction, waits for the service'
                     ELSE 'idle' END, 'idle') AS what, count(*)
FROM pg_stat_activity WHERE application_name = 'vernissage' AND datname = current_database() GROUP BY 1
"""


@dataclass(frozen=True)
class Measured:
    """What went on in the measured time."""

    seconds: float
    cpu_seconds: Mapping[str, float]  # by group of processes
    machine_seconds: float  # of all processes of the machine, ours included
    stolen_seconds: float  # that a virtual machine's host gave to others
    cores: int
    memory: Mapping[str, tuple[float, float]]  # resident MB of a group's largest process, at the begin and at the end
    size: tuple[Size, Size]
    waits: Mapping[str, float]  # connections of the service, by what they did, on average

    def share(self, group: str) -> float:
        """A group's share of all the time that the cores have."""
        return self.cpu_seconds[group] / (self.seconds * self.cores)

    @property
    def busy(self) -> float:
        """How much of the machine was in use."""
        return self.machine_seconds / (self.seconds * self.cores)

    @property
    def stolen(self) -> float:
        """The share of the cores that the machine's own host kept for others."""
        return self.stolen_seconds / (self.seconds * self.cores)

    @property
    def neighbours(self) -> float:
        """The share of the machine that others had."""
        return self.busy - sum(map(self.share, self.cpu_seconds))


def give_past(connection: psycopg.Connection, people: str, count: int, each: int = 30) -> None:
    """People who have seen so many artworks each and told of each; without a past, plans of queries are not life's."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")  # foreign keys hold by construction
        for statement in PAST:
            connection.execute(statement, {"people": people, "count": count, "each": each, "artworks": ARTWORKS})
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


@dataclass
class Watch:
    """Looks at processes and connections while a run goes on, from ``after`` seconds on, for so many ``seconds``."""

    service: Service
    after: float
    seconds: float
    _waits: Counter[str] = field(default_factory=Counter)
    _found: list[Measured] = field(default_factory=list)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """While the run goes on."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    @property
    def measured(self) -> Measured:
        """What was found. Raises IndexError before the end."""
        return self._found[0]

    def _watch(self) -> None:
        """Wait, look, and add up."""
        with connect(self.service.database_url, autocommit=True) as connection:
            groups = self._groups(connection)
            time.sleep(self.after)
            start, cpu, (used, stolen) = time.monotonic(), _cpu(groups), _machine_cpu()
            memory, size = _memory(groups), measure(connection)
            looks = 0
            while (passed := time.monotonic() - start) < self.seconds:
                time.sleep(min(LOOK_SECONDS, self.seconds - passed))
                self._waits.update(dict(connection.execute(WAITS).fetchall()))
                looks += 1
            passed, cpu_after, memory_after = time.monotonic() - start, _cpu(groups), _memory(groups)
            used_after, stolen_after = _machine_cpu()
            self._found.append(
                Measured(
                    seconds=passed,
                    cpu_seconds={group: cpu_after[group] - cpu[group] for group in groups},
                    machine_seconds=used_after - used,
                    stolen_seconds=stolen_after - stolen,
                    cores=psutil.cpu_count() or 1,
                    memory={group: (memory[group], memory_after[group]) for group in groups},
                    size=(size, measure(connection)),
                    waits={what: round(count / looks, 2) for what, count in self._waits.most_common()},
                )
            )

    def _groups(self, connection: psycopg.Connection) -> dict[str, Sequence[psutil.Process]]:
        """The processes by group; PostgreSQL is its first process alone, for the others come and go."""
        workers = self.service.worker_processes()
        rest = [process for process in self.service.processes() if process not in workers]
        database = psutil.Process(connection.info.backend_pid).parent()
        assert database is not None
        return {GENERATOR: [psutil.Process()], WORKERS: workers, REST: rest, DATABASE: [database]}


def cpu_table(measured: Measured, displays: float) -> Table:
    """Processors and memory by group, for so many displays in the measured time."""
    shown = Table("processes", title="Processors and memory", title_justify="left")
    for name in ("of all cores", "ms per display", "MB at the begin", "at the end"):
        shown.add_column(name, justify="right")
    for group, seconds in measured.cpu_seconds.items():
        before, after = measured.memory[group]
        per_display = f"{seconds * 1000 / max(displays, 1):.3f}"
        shown.add_row(group, f"{measured.share(group):.1%}", per_display, f"{before:,.1f}", f"{after:,.1f}")
    shown.add_row("others on this machine", f"{measured.neighbours:.1%}", "", "", "")
    shown.add_row("all", f"{measured.busy:.1%}", "", "", "")
    shown.add_row("kept by the machine's host", f"{measured.stolen:.1%}", "", "", "")
    return shown


def resources(measured: Measured, displays: float) -> dict[str, Any]:
    """The same as data, with growth per 1,000 displays."""
    before, after = measured.memory[WORKERS]
    first, last = measured.size
    thousands = max(displays / 1000, 1)
    return {
        "cpu_share": {group: round(measured.share(group), 4) for group in measured.cpu_seconds},
        "cpu_share_of_others": round(measured.neighbours, 4),
        "cpu_busy": round(measured.busy, 4),
        "cpu_stolen": round(measured.stolen, 4),
        "cpu_ms_per_display": {
            group: round(seconds * 1000 / max(displays, 1), 3) for group, seconds in measured.cpu_seconds.items()
        },
        "worker_mb": [before, after],
        "worker_growth_per_1000_displays": round((after - before) / before / thousands, 6),
        "database_mb": round(last.stored / 1e6, 1),
        "database_kb_per_1000_displays": round((last.stored - first.stored) / 1e3 / thousands, 1),
        "wal_kb_per_1000_displays": round((last.written - first.written) / 1e3 / thousands, 1),
        "connections_of_the_service": dict(measured.waits),
    }


def bottleneck(measured: Measured, workers: int) -> str:
    """What the service was short of, as far as processors and the waits of its connections tell."""
    largest = max(measured.cpu_seconds, key=lambda group: measured.cpu_seconds[group])
    each = measured.cpu_seconds[WORKERS] / measured.seconds / workers
    flushing = sum(count for what, count in measured.waits.items() if "WAL" in what)
    working = measured.waits.get("on the processor", 0.0) + flushing
    if measured.busy + measured.stolen > BUSY:
        return (
            f"the processors ({measured.busy:.0%} in use, {measured.neighbours:.0%} by others), "
            f"of which {largest} takes most of ours"
        )
    if each > FULL:
        return f"the event loop of a worker ({each:.0%} of a core each)"
    if flushing > working / 2:
        return f"the flush of the database's log ({flushing:.1f} connections wait for it)"
    return f"neither processors ({measured.busy:.0%}, a worker {each:.0%} of a core) nor the database's log"


def _cpu(groups: Mapping[str, Sequence[psutil.Process]]) -> dict[str, float]:
    """Seconds of processor time so far; of the database also its children's, living and gone."""
    return {
        group: sum(map(_seconds, processes)) + (_children(processes[0]) if group == DATABASE else 0.0)
        for group, processes in groups.items()
    }


def _children(process: psutil.Process) -> float:
    """What a process's children, those that are gone included, have used."""
    times = process.cpu_times()
    return times.children_user + times.children_system + sum(map(_seconds, process.children(recursive=True)))


def _seconds(process: psutil.Process) -> float:
    """Processor time of one process; nothing when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _machine_cpu() -> tuple[float, float]:
    """Seconds that all cores were in use, and that the machine's host kept them from it."""
    times = psutil.cpu_times()
    idle = times.idle + times.iowait + times.steal
    return float(sum(times) - idle - times.guest - times.guest_nice), float(times.steal)


def _memory(groups: Mapping[str, Sequence[psutil.Process]]) -> dict[str, float]:
    """Resident MB of the largest process of each group; of the database its first process alone."""
    return {
        group: max((_resident(process) for process in processes), default=0.0) for group, processes in groups.items()
    }


def _resident(process: psutil.Process) -> float:
    """Resident MB; nothing when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return round(process.memory_info().rss / 1e6, 1)
    return 0.0
