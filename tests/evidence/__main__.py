"""Lists the evidence scripts: `make evidence`."""

from pathlib import Path

for script in sorted(Path(__file__).parent.glob("[!_]*.py")):
    summary = script.read_text("utf-8").split('"""')[1].strip().splitlines()[0]
    print(f"{script.stem.replace('_', '-'):16} {summary}")  # noqa: T201 - a script for the terminal
