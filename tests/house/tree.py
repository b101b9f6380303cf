"""The files of the project as the house tests read them: what is tracked, and its Python parsed."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("db", "scheduler", "commands", "web")
_LEFT_OUT = {".venv", ".git", "var", "build", "__pycache__", ".hypothesis"}


@cache
def tracked() -> tuple[Path, ...]:
    """Files under version control, and new ones that are not ignored; without git: all but what is made."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [Path(name) for name in listed.stdout.split("\0") if name]
    else:
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
    return tuple(sorted(name for name in names if (ROOT / name).is_file() and not _LEFT_OUT & set(name.parts)))


def sources() -> list[Path]:
    """Python files outside the tests."""
    return [path for path in tracked() if path.suffix == ".py" and path.parts[0] != "tests"]


def python_files() -> list[Path]:
    """All Python files."""
    return [path for path in tracked() if path.suffix == ".py"]


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Dotted names a file imports, wherever it does: `from a import b` gives `a.b`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def calls(path: Path) -> Iterator[str]:
    """Dotted names used in a file: `datetime.now`, `os.environ`, `self.clock.now`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
