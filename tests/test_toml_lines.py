"""Where the keys of a TOML text stand: the same keys as `tomllib` finds, each on the line it was written on."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scheduler.toml_lines import Path, find_lines, find_places, line_of

KEYS = st.one_of(st.text("abcXYZ019_-", min_size=1, max_size=6), st.sampled_from(["'a.b'", '"# ["', '"]"']))
STRINGS = st.sampled_from(
    [
        '"plain"',
        '"# [x] \\" = {"',
        "'it is \\'",
        '"""two\n[[lines]] = "" # no\n"""',
        "'''a\n\"x\" = 1\n'''",
        '"""x"""""',
        '""',
    ]
)
SCALARS = st.one_of(STRINGS, st.sampled_from(["1", "-2.5e3", "true", "1979-05-27 07:32:00", "07:32:00"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: "[ # one\n" + ",\n".join(parts) + "\n]"),
        st.lists(SCALARS.filter(lambda text: "\n" not in text), max_size=2).map(
            lambda parts: "{" + ", ".join(f"k{place} = {part}" for place, part in enumerate(parts)) + "}"
        ),
    ),
    max_leaves=6,
)
GAPS = st.sampled_from(["\n", "\n\n", " # [[not]] a = 1\n", "\r\n"])
LINES = st.lists(
    st.one_of(
        st.tuples(KEYS, VALUES, GAPS).map(lambda part: f"{part[0]} = {part[1]}{part[2]}"),
        st.tuples(KEYS, KEYS, GAPS).map(lambda part: f"[ {part[0]} . {part[1]} ]{part[2]}"),
        st.tuples(KEYS, GAPS).map(lambda part: f"[[{part[0]}]]{part[1]}"),
        st.tuples(KEYS, KEYS, VALUES, GAPS).map(lambda part: f"{part[0]}.{part[1]} = {part[2]}{part[3]}"),
    ),
    max_size=8,
)


def paths_of(value: object, path: Path = ()) -> set[Path]:
    """Every key and every array place of a parsed text."""
    found = {path} if path else set()
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found |= paths_of(child, (*path, key))
    return found


def whole(parts: list[str]) -> str:
    """A text of these parts; one that repeats a key is left out."""
    kept = ""
    for part in parts:
        try:
            tomllib.loads(kept + part)
        except tomllib.TOMLDecodeError:
            continue
        kept += part
    return kept


@given(LINES)
def test_every_key_that_tomllib_finds_has_a_line_and_no_other(parts: list[str]) -> None:
    kept = whole(parts)
    lines = find_lines(kept)
    expected = paths_of(tomllib.loads(kept))
    assert set(lines) <= expected
    assert all(path in lines or any(other[: len(path)] == path for other in lines) for path in expected)
    assert all(1 <= line <= kept.count("\n") + 1 for line in lines.values())


def test_lines_of_tables_keys_and_list_elements() -> None:
    lines = find_lines(
        'a = 1 # one\n[[step]]\nkey = "x"\ntext = """\n[[step]]\n"""\n[step.repeat]\nevery = 2\n\n'
        '[[step]]\nlist = [\n  1, # [\n  2,\n]\n"quoted" = { deep = 3 }\nb.c = 4\n'
    )
    assert {path: line for path, line in lines.items() if path[-1] != "step"} == {
        ("a",): 1,
        ("step", 0): 2,
        ("step", 0, "key"): 3,
        ("step", 0, "text"): 4,
        ("step", 0, "repeat"): 7,
        ("step", 0, "repeat", "every"): 8,
        ("step", 1): 10,
        ("step", 1, "list"): 11,
        ("step", 1, "list", 0): 12,
        ("step", 1, "list", 1): 13,
        ("step", 1, "quoted"): 15,
        ("step", 1, "quoted", "deep"): 15,
        ("step", 1, "b"): 16,
        ("step", 1, "b", "c"): 16,
    }


def test_a_key_that_is_not_there_has_the_line_of_its_table() -> None:
    lines = find_lines("\n[[step]]\na = 1\n")
    assert line_of(lines, ("step", 0, "missing")) == 2
    assert line_of(lines, ("missing",)) == 1


@given(LINES)
def test_a_value_stands_where_it_was_found(parts: list[str]) -> None:
    text = whole(parts).replace("\r\n", "\n")
    values, heads = find_places(text)
    document = tomllib.loads(text)
    for path, (begins, ends) in values.items():
        expected: Any = document
        for key in path:
            expected = expected[key]
        assert tomllib.loads(f"x = {text[begins:ends]}")["x"] == expected
    assert all(text[at:].lstrip().startswith("[") for at in heads.values())
    assert all(at == 0 or text[at - 1] == "\n" for at in heads.values())
