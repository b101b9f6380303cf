"""CSV files as clinics' programs write them: what is read, and what is told with its line and column."""

from pathlib import Path

import pytest

from scheduler.errors import InvalidInput
from scheduler.import_file import MAX_ROWS, SHOWN_PROBLEMS, ImportFile, parse, read_file, told

NAMES = "given_name,family_name,contact_note\n"


def read(text: str) -> ImportFile:
    """A file of that text."""
    return parse(text.encode(), "patients.csv")


def problems(text: str | bytes) -> list[str]:
    """What is wrong with a file."""
    with pytest.raises(InvalidInput) as refused:
        parse(text if isinstance(text, bytes) else text.encode(), "patients.csv")
    return list(refused.value.problems)


def test_rows_carry_the_line_on_which_they_begin() -> None:
    file = read(NAMES + 'Tara,Quill,"rings\nat\nnine"\n\nUma,Vance,\r\n;;\n'.replace(";;", ",,") + "Wren,Young,x\n")
    assert [(row.line, row.cells.get("given_name")) for row in file.rows] == [(2, "Tara"), (6, "Uma"), (8, "Wren")]
    assert file.rows[0].cells["contact_note"] == "rings\nat\nnine"


def test_empty_cells_are_left_out_and_others_trimmed() -> None:
    (row,) = read(NAMES + " Tara ,Quill,  \n").rows
    assert row.cells == {"given_name": "Tara", "family_name": "Quill"}


def test_what_a_spreadsheet_would_calculate_stays_text() -> None:
    (row,) = read(NAMES + "=1+1,@Quill,-5\n").rows
    assert list(row.cells.values()) == ["=1+1", "@Quill", "-5"]


def test_commas_inside_semicolon_files_are_part_of_the_cell() -> None:
    (row,) = read('given_name;"family_name";contact_note\nTara;Quill, née Vance;1,5\n').rows
    assert list(row.cells.values()) == ["Tara", "Quill, née Vance", "1,5"]


def test_a_last_column_without_a_name_is_fine_while_it_is_empty() -> None:
    assert read("given_name,family_name,\nTara,Quill,\n").columns == ["given_name", "family_name"]
    assert problems("given_name,family_name,\nTara,Quill,x\n") == [
        'line 2, column 3: the cell "x" stands under no column name'
    ]


def test_a_file_of_known_patients_needs_no_names() -> None:
    assert read("record_number,protocol,treated_at\nR1,course,2026-11-23T10:30\n").columns[0] == "record_number"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("Given Name,family_name", 'line 1, "Given Name": there is no such column; did you mean given_name?'),
        ("given_name,family_name,emial", 'line 1, "emial": there is no such column; did you mean email?'),
        ("given_name,family_name,field.", 'line 1, "field."'),
        ("given_name,family_name,given_name", "line 1, given_name: this column is there twice, as column 1 and 3"),
        ("given_name,email", "line 1, family_name: this column is missing"),
        ("given_name,family_name,protocol", "line 1, treated_at: this column is missing"),
        ("given_name,family_name,treated_at,field.lot", "treated_at, field.lot would belong to no treatment"),
        ("given_name\tfamily_name", "line 1: the columns are separated by tabs"),
    ],
)
def test_wrong_columns_are_named_with_what_was_meant(head: str, said: str) -> None:
    assert any(said in problem for problem in problems(f"{head}\nTara,Quill,,\n"))


def test_every_row_of_a_wrong_length_is_told() -> None:
    assert problems(NAMES + "Tara,Quill\nUma,Vance,\nWren,Young,,,x\n") == [
        "line 2: has 2 cells, the first line names 3 columns",
        'line 4, column 5: the cell "x" stands under no column name',
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('Tara,"Quill,x\nUma,Vance,\n', "line 3: a quotation mark is opened in this row and never closed"),
        ('Tara,"Quill"s,x\n', "line 3: something follows a closing quotation mark"),
        (f"Tara,{'x' * 140_000},x\n", "line 3: a cell is longer than 131072 characters"),
    ],
)
def test_broken_quotation_is_told_with_the_line_where_its_row_begins(row: str, said: str) -> None:
    assert problems(NAMES + "Sal,Pitt,\n" + row)[0].startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (NAMES.encode("utf-16"), "UTF-16"),
        (NAMES.encode("utf-16-le"), "line 1: holds a NUL byte"),
        (NAMES.encode() + b"Ta\0ra,Quill,\n", "line 2: holds a NUL byte"),
        (NAMES.encode() + "Chloé,Łaska,\n".encode("cp1250"), "line 2: byte 0xE9 is no UTF-8"),
        ((NAMES + "Chloé,Quill,\n").encode("utf-8-sig")[:-12] + b"\xe9\n", "line 2: byte 0x"),
        (b"PK\x03\x04rest of a workbook", "is a workbook"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n\n", "is empty"),
        (NAMES.encode() + b",,\n", "has no row"),
    ],
)
def test_what_is_no_such_file_is_refused_with_what_to_do(content: bytes, said: str) -> None:
    (problem,) = problems(content)
    assert said in problem


def test_a_file_beyond_the_row_limit_is_refused_whole() -> None:
    assert problems(NAMES + "Tara,Quill,\n" * (MAX_ROWS + 1)) == [
        f"patients.csv has more than {MAX_ROWS} rows; import it in parts"
    ]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_file(tmp_path)


def test_of_very_many_problems_the_first_are_told_and_the_rest_counted() -> None:
    found = told([f"line {n}: wrong" for n in range(SHOWN_PROBLEMS + 5)]).problems
    assert len(found) == SHOWN_PROBLEMS + 1
    assert found[-1] == "… and 5 more problems; nothing was imported"
