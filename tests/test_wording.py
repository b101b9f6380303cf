"""The discreet-wording linter: every place, every kind of word, and the disguises it sees through."""

from pathlib import Path

import pytest

from scheduler.errors import InvalidInput
from scheduler.messages import Rendered, Source, compile_message, sample_values
from scheduler.template_files import SHIPPED
from scheduler.word_lists import WordList, load_word_list
from scheduler.wording import WordingFinding, lint_rendered, lint_source, lint_values

ENGLISH = load_word_list("en", [SHIPPED])
GERMAN = load_word_list("de", [SHIPPED])
LONG_ENOUGH = "We hope that your day is calm and that you can rest a little when you would like to. " * 2


def source(body: str = LONG_ENOUGH, subject: str = "Your visit", preheader: str = "A note.", **fields: str) -> Source:
    front = f'+++\nsubject = "{subject}"\npreheader = "{preheader}"\n+++\nHello {{{{ patient.preferred_name }}}}.\n\n'
    return Source(fields.get("key", "a_text"), "en", fields.get("level", "general"), front + body + "\n")


def rendered(
    subject: str = "Your visit", preheader: str = "A note.", text: str = LONG_ENOUGH, **fields: str
) -> Rendered:
    return Rendered(subject, preheader, text, fields.get("html", ""), "en", fields.get("level", "general"))


def hits(found: list[WordingFinding]) -> list[tuple[str, int | None, str]]:
    return [(finding.place, finding.line, finding.word) for finding in found]


@pytest.mark.parametrize(
    "word",
    [
        "vaginismus",
        "BOTOX",
        "Ｂｏｔｏｘ",
        "bo\u00adtox",
        "bo\u200btox",
        "bot&#111;x",
        "partner",
        "exercises",
        "your private  parts",
        "discount",
        "sex",
        "surgical",
        "women",
    ],
)
@pytest.mark.parametrize("place", ["subject", "preheader"])
def test_a_revealing_word_outside_is_found_in_any_disguise(place: str, word: str) -> None:
    found = lint_rendered(rendered(**{place: f"Your {word} note"}), (), ENGLISH)
    assert [finding.place for finding in found] == [place]


@pytest.mark.parametrize("word", ["Essex", "Sussex", "manageable", "analysis", "unions", "canal"])
def test_a_word_that_only_contains_a_listed_one_is_fine(word: str) -> None:
    assert lint_rendered(rendered(subject=f"Your visit in {word}"), (), ENGLISH) == []


def test_a_preview_shows_the_first_characters_of_the_body_so_they_count_as_outside() -> None:
    early = lint_rendered(rendered(text="How was your exercise? " + LONG_ENOUGH), (), ENGLISH)
    assert hits(early) == [("first 150 characters", None, "exercise")]
    assert lint_rendered(rendered(text=LONG_ENOUGH + "How was your exercise?"), (), ENGLISH) == []


def test_a_word_is_not_cut_in_two_where_the_first_characters_end() -> None:
    text = "x" * 145 + " sextant and so on"
    assert lint_rendered(rendered(text=text), (), ENGLISH) == []


def test_a_general_body_says_nothing_of_the_body_and_a_full_one_may() -> None:
    text = LONG_ENOUGH + "Use the dilator."
    assert hits(lint_rendered(rendered(text=text), (), ENGLISH)) == [("body", None, "dilator")]
    assert lint_rendered(rendered(text=text, level="full"), (), ENGLISH) == []


@pytest.mark.parametrize(
    "said", ["Take paracetamol.", "We guarantee it.", "It works for most women.", "It helps 80 % here."]
)
def test_no_level_allows_medicines_promises_comparisons_or_percentages(said: str) -> None:
    assert len(lint_rendered(rendered(text=LONG_ENOUGH + said, level="full"), (), ENGLISH)) == 1


def test_the_patients_name_is_not_shown_outside_but_may_stand_in_the_body() -> None:
    text = "Hello Asha. " + LONG_ENOUGH
    found = lint_rendered(
        rendered(subject="Asha, your visit", preheader="For Ms Rao", text=text), ("Asha", "Rao"), ENGLISH
    )
    assert hits(found) == [("subject", None, "asha"), ("preheader", None, "rao")]


def test_a_name_that_is_a_month_or_a_word_of_the_text_itself_is_not_counted() -> None:
    message = compile_message(
        source(subject="Your visit on {{ review.weekday }} {{ review.date }}", preheader="We will see.")
    )
    values = sample_values("en") | {"review.date": "5 May", "review.weekday": "Tuesday"}
    assert lint_rendered(message.render(values), ("May", "Will", "Visit"), ENGLISH) == []
    renamed = message.render(values | {"review.date": "5 May for Rose"})
    assert hits(lint_rendered(renamed, ("Rose",), ENGLISH)) == [("subject", None, "rose")]


def test_a_subject_is_at_most_45_characters() -> None:
    assert lint_rendered(rendered(subject="x" * 45), (), ENGLISH) == []
    assert "longer than 45" in lint_rendered(rendered(subject="x" * 46), (), ENGLISH)[0].problem


@pytest.mark.parametrize(
    ("link", "word"),
    [
        ("https://example.org/my-vaginismus", "vaginismus"),
        ("https://thevaginismusclinic.example.org/l/x", "vaginismusclinic"),
        ("https://example.org/l/b%6ftox", "botox"),
        ("https://example.org/p/1001", "1001"),
        ("https://example.org/l?id=12", "12"),
        ("https://example.org/asha/x", "asha"),
        ("mailto:botox@example.org", "botox"),
    ],
)
def test_links_show_no_word_no_name_and_no_counted_number(link: str, word: str) -> None:
    found = lint_rendered(rendered(html=f'<a href="{link}">x</a>'), ("Asha",), ENGLISH)
    assert found
    assert all(word in finding.word or finding.word in word for finding in found)


@pytest.mark.parametrize(
    "link", ["https://letters.example.org/l/q7w2k9m4x1c8", "tel:+442079460000", "https://example.org"]
)
def test_a_random_link_is_fine(link: str) -> None:
    assert lint_rendered(rendered(html=f'<a href="{link}">x</a>'), ("Asha",), ENGLISH) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("sender name", "Aesthetic Gynaecology London"),
        ("sender address", "info@gynaecologycentre.example.org"),
        ("Reply-To", "botox_team@example.org"),
        ("public host", "https://pelvichealth.example.org"),
        ("HELO name", "mx1.vulva-clinic.example.org"),
        ("file name", "labiaplasty2.ics"),
        ("Message-ID", "<asha.1@example.org>"),
        ("List-Unsubscribe", "https://example.org/u/1001"),
    ],
)
def test_what_stands_around_every_message_is_checked_too(place: str, value: str) -> None:
    found = lint_values({place: value}, ENGLISH, ("Asha",))
    assert found
    assert {finding.place for finding in found} == {place}


def test_neutral_values_around_a_message_pass() -> None:
    values = {
        "sender name": "Orchard Lane",
        "sender address": "office@orchard-lane.example.org",
        "public host": "https://letters.example.org",
        "Message-ID": "<0a1b2c3d4e5f@example.org>",
    }
    assert lint_values(values, ENGLISH, ("Asha", "Rao")) == []


def test_a_source_is_checked_line_by_line() -> None:
    found = lint_source(source("Fine.\n\nYou should rest.\nNo vagina here.\n", subject="Your dose"), ENGLISH)
    assert hits(found) == [("subject", 2, "dose"), ("body", 9, "should"), ("body", 10, "vagina")]


def test_commands_are_for_urgent_blocks_and_the_footer() -> None:
    text = '+++\nstatus = "draft"\n+++\nYou must call {{ urgent.number }} now.\n'
    assert lint_source(Source("urgent_general", "en", "general", text), ENGLISH) == []
    assert lint_source(Source("_footer", "en", "general", text + "Cheaper with a discount.\n"), ENGLISH) != []


@pytest.mark.parametrize("name", ["patient.preferred_name", "link.page", "staff.signature"])
def test_what_belongs_to_her_is_not_printed_outside(name: str) -> None:
    found = lint_source(source(subject=f"For {{{{ {name} }}}}"), ENGLISH)
    assert hits(found) == [("subject", 2, name)]


def test_a_literal_link_in_a_source_is_checked() -> None:
    found = lint_source(source("[Look](https://example.org/p/17)"), ENGLISH)
    assert hits(found) == [("body", 7, "17")]


def test_german_texts_have_their_own_list() -> None:
    def look(text: str) -> list[WordingFinding]:
        return lint_rendered(Rendered("Ihr Termin", "Hinweis.", "Guten Tag. " * 15 + text, "", "de"), (), GERMAN)

    assert look("Alles Gute für Sie. Die Wege sind kurz.") == []
    assert [finding.word for finding in look("Nach dem EINGRIFF")] == ["eingriff"]
    assert [finding.word for finding in look("am Gesäß")] == ["gesäss"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wording").mkdir()
    return tmp_path


def write(folder: Path, text: str, language: str = "en") -> WordList:
    (folder / "wording" / f"{language}.txt").write_text(text, encoding="utf-8")
    return load_word_list(language, [folder, SHIPPED])


def test_a_clinics_own_list_adds_words_and_allows_others(folder: Path) -> None:
    words = write(folder, "# ours\n[reveals]\nzebra*\n[allow]\nSex Lane\n")
    assert [finding.word for finding in lint_values({"x": "the zebras, 4 Sex Lane"}, words)] == ["zebra", "zebras"]
    assert lint_values({"x": "botox"}, words) != []
    allowed = load_word_list("en", [SHIPPED], allow=["Dr Penis"])
    assert lint_values({"x": "dr  penis"}, allowed) == []


def test_a_regional_language_uses_the_list_of_its_language_and_an_unknown_one_the_english(folder: Path) -> None:
    words = write(folder, "[never]\nxyz\n", "de-AT")
    assert [finding.word for finding in lint_values({"x": "xyz eingriff"}, words)] == ["eingriff", "xyz"]
    assert lint_values({"x": "botox"}, load_word_list("fr", [SHIPPED])) != []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[else]\n", "en.txt:1: unknown section"),
        ("word\n", "en.txt:1: a word before the first section"),
        ("[never]\nab*\n", "en.txt:2"),
        ("[never]\n\na*b\n", "en.txt:3"),
    ],
)
def test_a_wrong_line_in_a_list_is_told_with_file_and_line(folder: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said.replace(".", r"\.").replace("[", r"\[")):
        write(folder, text)


def test_a_folder_without_any_list_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="no word list for en"):
        load_word_list("en", [folder])
