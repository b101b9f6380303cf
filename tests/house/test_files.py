"""What must hold for every file: its size, its first words, and what never stands in one."""

import ast
import re
import stat

from tests.house.tree import ROOT, parsed, python_files, sources, tracked

LONGEST = 400  # lines; then split by noun
# The folders of one machine, and the hosts of package indexes.
MACHINE_PATH = re.compile(r"(?<![\w.}$*])/(?:work|root|home|Users|tmp)/\w")
INDEX_HOST = re.compile(
    r"py[p]i\.o[r]g|python[h]osted|files\.py[t]hon|--(?:extra-)?ind[e]x|--find-lin[k]s", re.IGNORECASE
)
MAY_NAME_AN_INDEX_OPTION = {"CONTRIBUTING.md"}
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "core", "helpers", "helper", "misc", "manager", "handler", "base2"}


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_no_source_file_is_longer_than_four_hundred_lines() -> None:
    long = {str(path): len(_text(str(path)).splitlines()) for path in sources() if "versions" not in path.parts}
    assert {path: lines for path, lines in long.items() if lines > LONGEST} == {}


def test_every_python_file_says_what_it_is() -> None:
    wrong = [str(path) for path in python_files() if not (ast.get_docstring(parsed(path)) or "").strip()]
    assert wrong == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in sources() if NAMES_THAT_SAY_NOTHING & set(path.stem.split("_"))] == []


def test_no_file_names_a_folder_of_one_machine_or_a_package_index() -> None:
    wrong = []
    for path in tracked():
        content = (ROOT / path).read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), start=1):
            if MACHINE_PATH.search(line) or (path.name not in MAY_NAME_AN_INDEX_OPTION and INDEX_HOST.search(line)):
                wrong.append(f"{path}:{number}: {line.strip()[:100]}")
    assert [line for line in wrong if not line.startswith("tests/house/test_files.py")] == []


def test_the_locks_hold_hashes_and_no_address() -> None:
    for name in ("requirements.lock", "requirements-dev.lock", "bench/peers/requirements.lock"):
        content = _text(name)
        assert "://" not in content
        assert "--index" not in content
        pins = [line for line in content.splitlines() if re.match(r"[A-Za-z0-9]", line)]
        assert [line for line in pins if "==" not in line or not line.endswith("\\")] == []
        blocks = re.split(r"\n(?=[A-Za-z0-9])", content)
        assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_what_runs_is_what_was_tested() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([A-Za-z0-9_.\[\]-]+==[^ ;\\]+)", _text(name), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")


def test_the_continuous_check_is_make_test() -> None:
    run = ROOT / ".ci" / "run"
    assert "make test" in run.read_text()
    assert run.stat().st_mode & stat.S_IXUSR
    makefile = _text("Makefile")
    for target in ("install", "run", "test", "check", "format", "demo"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
