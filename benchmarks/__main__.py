"""Run a benchmark by name: ``python -m benchmarks daily_path --rows 1000000``; without a name, list them."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> dict[str, str]:
    """Benchmarks of this folder: name -> first line of its documentation."""
    found = {}
    for file in sorted(FOLDER.glob("[a-z]*.py")):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        found[file.stem] = text.partition("\n")[0]
    return found


def main() -> int:
    """List, or run the one that is named with the remaining arguments."""
    known = names()
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("Benchmarks: python -m benchmarks NAME [--help]\n")
        for name, text in known.items():
            print(f"  {name:<16} {text}")
        return 0
    name = sys.argv[1]
    if name not in known:
        print(f"error: there is no benchmark {name!r}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    sys.argv = [f"benchmarks {name}", *sys.argv[2:]]
    importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
