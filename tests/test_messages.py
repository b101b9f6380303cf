"""Message sources: what they may say, what is refused and where, and what comes out when they are filled in."""

import re
from datetime import date, time
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.dates import day_in_words, locale_of, time_in_words, weekday_in_words
from scheduler.message_source import NAMES, SourceInvalid, parse_source
from scheduler.messages import (
    CompiledMessage,
    RenderFailed,
    Source,
    compile_message,
    escape_lines,
    names_used,
    plain_text,
    sample_values,
)

FRONT = '+++\nsubject = "Your visit"\npreheader = "A short note."\nstatus = "draft"\n+++\n'
HELLO = "Hello {{ patient.preferred_name }}.\n\n"


def text(body: str, front: str = FRONT, key: str = "a_text", language: str = "en") -> Source:
    return Source(key, language, "general", front + body)


def part(body: str, key: str = "urgent_general") -> Source:
    return Source(key, "en", "general", f'+++\nstatus = "draft"\n+++\n{body}')


def compiled(body: str, front: str = FRONT) -> CompiledMessage:
    return compile_message(text(HELLO + body, front))


class Visible(HTMLParser):
    """The words a reader of the HTML part sees in its body."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._hidden = True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("h1", "style", "title"):
            self._hidden = tag != "h1"

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words += data.split()


def words_of_html(html: str) -> list[str]:
    reader = Visible()
    reader.feed(html)
    return reader.words


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ("Hi {{ patient.surname }}.", 8, "unknown name patient.surname"),
        ("Hi {{ clinic.name | upper }}.", 8, "filters, loops and calls"),
        ("Hi {{ clinic.name() }}.", 8, "filters, loops and calls"),
        ("Hi {{ clinic.name", 8, "expected {{ name }}"),
        ("Hi {{ name }}.", 8, "expected {{ name }}"),
        ("Hi {# note #}.", 8, "a brace"),
        ("Hi {\\{ clinic.name }}.", 8, "a brace"),
        ("Hi {*{* clinic.name }*}*.", 8, "a brace"),
        ("Hi &#123;&#123; clinic.name &#125;&#125;.", 8, "a brace"),
        ("{% for x in y %}\n\nHi.\n\n{% endfor %}", 8, "alone on its line"),
        ("{% if clinic.name %}\n\nHi.", 8, "is not closed"),
        ("{% endif %}", 8, "without {% if name %}"),
        ("{% else %}", 8, "without {% if name %}"),
        (
            "{% if clinic.name %}\n\nA.\n\n{% else %}\n\nB.\n\n{% else %}\n\nC.\n\n{% endif %}",
            16,
            "a second {% else %}",
        ),
        ("{% if clinic.fax %}\n\nA.\n\n{% endif %}", 8, "unknown name clinic.fax"),
        ("Hi {% if clinic.name %} there.", 8, "alone on its line"),
        ("  {% if clinic.name %}\n\nA.\n\n{% endif %}", 8, "not indented"),
        ("A.\n{% if clinic.name %}\n\nB.\n\n{% endif %}", 9, "leave an empty line"),
        ("Hi <b>you</b>.", 8, "HTML is not allowed"),
        ("<div>x</div>", 8, "HTML is not allowed"),
        ("A.\n\n![x](https://example.org/x.png)", 10, "images are not allowed"),
        ("A.\n\n    code", 10, "code is not allowed"),
        ("`x`", 8, "code is not allowed"),
        ("> x", 8, "quotes are not allowed"),
        ("# Title", 8, "headings are ##"),
        ("- a\n  - b", 9, "no list"),
        ("[x](javascript:alert(1))", 8, "a link leads to"),
        ("[x](/relative)", 8, "a link leads to"),
        ('[x](https://example.org "title")', 8, "a link has no title"),
        ("[x]({{ clinic.name }})", 8, "is not a link"),
        ("[x](https://example.org/{{ link.page }})", 8, "a link leads to"),
        ("A\u202eB", 8, "invisible"),
    ],
)
def test_what_the_grammar_does_not_know_is_refused_with_its_line(body: str, line: int, said: str) -> None:
    with pytest.raises(SourceInvalid) as refused:
        compiled(body)
    places = [(finding.line, finding.problem) for finding in refused.value.findings]
    assert any(at == line and said in problem for at, problem in places), places
    assert str(refused.value.findings[0]).startswith("en/a_text.md:")


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ("", "expected the front matter"),
        ('+++\nsubject = "x"\n', "not closed"),
        ("+++\nsubject = x\n+++\n", "not TOML"),
        ('+++\nsubject = "x"\npreheader = "y"\ncolour = "red"\n+++\n', "unknown field 'colour'"),
        ('+++\nsubject = "x"\n+++\n', "lacks preheader"),
        ('+++\nsubject = 3\npreheader = "y"\n+++\n', "has to be a text"),
        ('+++\nsubject = """a\nb"""\npreheader = "y"\n+++\n', "one line"),
        ('+++\nsubject = "x"\npreheader = "y"\nstatus = "approved"\n+++\n', "draft or retired"),
        ('+++\nsubject = "{% if clinic.name %}"\npreheader = "y"\n+++\n', "not choose"),
        ('+++\nsubject = "{{ patient.name }}"\npreheader = "y"\n+++\n', "unknown name patient.name"),
    ],
)
def test_front_matter_that_is_wrong_is_refused(front: str, said: str) -> None:
    with pytest.raises(SourceInvalid) as refused:
        parse_source(text(HELLO, front))
    assert said in str(refused.value)


def test_all_findings_of_a_message_and_its_parts_come_at_once() -> None:
    with pytest.raises(SourceInvalid) as refused:
        compile_message(text("Hi {{ a.b }}."), part("{{ c.d }}"), part("{{ e.f }}", "_footer"))
    assert [finding.file for finding in refused.value.findings] == [
        "en/a_text.md",
        "en/urgent_general.md",
        "en/_footer.md",
    ]


def test_a_part_has_no_subject_and_is_not_sent_on_its_own() -> None:
    with pytest.raises(SourceInvalid, match="has no subject"):
        parse_source(text("Call.", key="_footer"))
    with pytest.raises(SourceInvalid, match="cannot be sent on its own"):
        compile_message(part("Call us."))


def test_a_body_begins_with_its_greeting() -> None:
    with pytest.raises(SourceInvalid, match="greeting"):
        compile_message(text("- Hello\n"))


def test_every_name_of_the_contract_can_be_printed_and_has_a_sample() -> None:
    body = "\n".join(f"{{{{ {name} }}}}" for name in sorted(NAMES)) + "\n{{ text.rest_rule }}\n"
    source = text(HELLO + body)
    assert names_used(source) == NAMES | {"text.rest_rule"}
    for language in ("en", "de", "fr"):
        values = sample_values(language, names_used(source))
        rendered = compile_message(source).render(values)
        assert all(value in rendered.text for name, value in values.items() if name != "link.stop")


def test_the_message_is_body_then_urgent_block_then_footer_set_apart_by_rules() -> None:
    message = compile_message(text(HELLO + "A body."), part("## Help\n\nCall."), part("Our hours.", "_footer"))
    rendered = message.render(sample_values("en"))
    assert rendered.text == f"Hello Asha.\n\nA body.\n\n{'-' * 40}\n\nHelp\n\nCall.\n\n{'-' * 40}\n\nOur hours.\n"
    assert rendered.html.index("A body.") < rendered.html.index("Call.") < rendered.html.index("Our hours.")


def test_text_and_html_say_the_same_words() -> None:
    body = (
        "Some *soft* and **strong** words\non two lines.\n\n## A heading\n\n- one & two\n- {{ clinic.name }}\n\n"
        "3. three\n4. four\n\n---\n\n[Look]({{ link.page }})\n\nOr [write to us](mailto:a@example.org) today.\n"
    )
    rendered = compiled(body).render(sample_values("en") | {"clinic.name": "Smith & <Sons>"})
    bare = re.sub(r":\nhttps://\S+| <\S+@\S+>|^-{40}$|^- |^\d\. ", "", rendered.text, flags=re.MULTILINE)
    assert words_of_html(rendered.html) == bare.split()
    assert "3. three\n4. four" in rendered.text
    assert '<ol start="3"' in rendered.html


def test_a_paragraph_that_is_only_a_link_becomes_a_button_and_a_bare_address_in_text() -> None:
    rendered = compiled("[Choose a time]({{ link.page }})").render(
        {"patient.preferred_name": "A", "link.page": "https://example.org/l/x?a=1&b=2"}
    )
    assert "Choose a time:\nhttps://example.org/l/x?a=1&b=2\n" in rendered.text
    assert 'href="https://example.org/l/x?a=1&amp;b=2"' in rendered.html


def test_an_address_is_shown_without_its_scheme_in_text() -> None:
    values = {"patient.preferred_name": "A", "link.stop": "mailto:stop@example.org?subject=stop%20x"}
    rendered = compiled("You can [stop these]({{ link.stop }}) now.").render(values)
    assert "You can stop these <stop@example.org> now." in rendered.text
    assert 'href="mailto:stop@example.org?subject=stop%20x"' in rendered.html


@pytest.mark.parametrize("absent", [{}, {"link.page": None}, {"link.page": ""}])
def test_an_absent_value_is_false_and_its_sentences_drop_out(absent: dict[str, str | None]) -> None:
    body = "{% if link.page %}\n\n[Look]({{ link.page }})\n\n{% else %}\n\nPlease call.\n\n{% endif %}\n"
    rendered = compiled(body).render({"patient.preferred_name": "A", **absent})
    assert rendered.text == "Hello A.\n\nPlease call.\n"
    assert "href" not in rendered.html


def test_choices_may_stand_inside_choices() -> None:
    body = (
        "{% if clinic.name %}\n{% if clinic.phone %}\n\nBoth.\n\n{% else %}\n\nName.\n\n{% endif %}\n"
        "{% else %}\n\nNone.\n\n{% endif %}\n"
    )
    message = compiled(body)
    said = [
        message.render({"patient.preferred_name": "A", "clinic.name": name, "clinic.phone": phone}).text.split("\n")[2]
        for name, phone in (("n", "p"), ("n", None), (None, "p"))
    ]
    assert said == ["Both.", "Name.", "None."]


def test_an_absent_value_that_is_printed_is_an_error_that_names_it_and_shows_nothing_else() -> None:
    with pytest.raises(RenderFailed, match=r"clinic\.hours is printed") as failed:
        compiled("{{ clinic.hours }}").render({"patient.preferred_name": "Asha"})
    assert "Asha" not in str(failed.value)


@pytest.mark.parametrize("value", ["a\x00b", "a\x1fb", "a\x85b", "a\u2028b", "\ud800", "a\x0bb"])
def test_a_control_character_in_a_value_is_refused(value: str) -> None:
    with pytest.raises(RenderFailed, match="control character"):
        compiled("Hi.").render({"patient.preferred_name": value})


def test_a_value_of_several_lines_is_shown_in_lines_but_never_reaches_subject_or_preheader() -> None:
    values = {"patient.preferred_name": "A", "text.rule": "one\r\ntwo"}
    rendered = compiled("{{ text.rule }}").render(values)
    assert "one\ntwo\n" in rendered.text
    assert "one<br>\ntwo" in rendered.html
    front = FRONT.replace("Your visit", "{{ text.rule }}")
    with pytest.raises(RenderFailed, match="more than one line"):
        compiled("Hi.", front).render(values)


@pytest.mark.parametrize("target", ["javascript:alert(1)", "https://a b", 'https://x"onclick="y', "//example.org"])
def test_a_value_that_is_no_link_is_not_made_one(target: str) -> None:
    with pytest.raises(RenderFailed, match="is not a link"):
        compiled("[x]({{ link.page }})").render({"patient.preferred_name": "A", "link.page": target})


def test_markup_in_a_value_is_shown_and_not_obeyed() -> None:
    name = '<img src=x onerror="y">{{ 7*7 }}**b** [x](https://example.org)'
    rendered = compiled("Hi.").render({"patient.preferred_name": name})
    assert f"Hello {name}." in rendered.text
    assert name in unescape(rendered.html)
    assert "<img" not in rendered.html
    assert "<a " not in rendered.html


def test_a_value_that_turns_the_direction_is_closed_in() -> None:
    rendered = compiled("Hi.").render({"patient.preferred_name": "A\u202eB\u2069"})
    assert rendered.text.startswith("Hello \u2068AB\u2069.")
    assert compiled("Hi.").render({"patient.preferred_name": "נועה"}).text.startswith("Hello \u2068נועה\u2069.")


@given(st.text(max_size=300).filter(lambda value: value.strip()))
def test_any_value_is_refused_or_shown_as_it_is(value: str) -> None:
    message = compiled("Hi {{ clinic.name }}.")
    try:
        rendered = message.render({"patient.preferred_name": "A", "clinic.name": value})
    except RenderFailed:
        assert re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", value)
        return
    shown = re.sub("[\u202a-\u202e\u2066-\u2069]", "", value)
    kept = re.sub("[\u2068\u2069]", "", rendered.text)
    if "\n" not in shown and "\r" not in shown:
        assert f"Hi {shown}." in kept
    assert rendered.html.count("<script") == 0


def test_the_page_has_a_language_one_heading_a_hidden_preheader_and_nothing_remote() -> None:
    rendered = compile_message(text(HELLO + "Ein Text.", language="de")).render({"patient.preferred_name": "A"})
    assert '<html lang="de">' in rendered.html
    assert rendered.html.count("<h1") == 1
    assert "prefers-color-scheme: dark" in rendered.html
    assert re.search(r'class="preheader" style="display: none', rendered.html)
    assert not re.search(r"src=|url\(|@import|<link|http", rendered.html)


def test_a_part_in_another_language_says_so() -> None:
    german = Source("_footer", "de", "general", '+++\nstatus = "draft"\n+++\nUnsere Zeiten.\n')
    rendered = compile_message(text(HELLO + "Hi."), None, german).render({"patient.preferred_name": "A"})
    assert '<td class="footer" lang="de"' in rendered.html


def test_compiling_the_same_sources_again_gives_the_same_message() -> None:
    assert compiled("Once.") is compiled("Once.")


TOLD = st.sampled_from(["", "A b", "<b>&", "one\ntwo", "\u05d0", "x\n\n\ny"])


@given(st.fixed_dictionaries({"patient.preferred_name": st.sampled_from(["Asha", "<A>&"]), "clinic.phone": TOLD}))
def test_filling_in_makes_what_jinja_would_make(values: dict[str, str]) -> None:
    message = compiled("{% if clinic.phone %}\n\nRing {{ clinic.phone }}.\n\n{% else %}\n\nWrite to us.\n\n{% endif %}")
    made = message.render(values)
    # The slow way, spelled out: one run of Jinja a message.
    told = {name.replace(".", "__"): message._checked(name, value) for name, value in values.items() if value}
    facts = {f"has_{name.replace('.', '__')}": bool(value) for name, value in values.items()}
    assert made.html == message._page.render({name: escape_lines(value) for name, value in told.items()} | facts)
    body = message._lines.render({**told, **facts}).split("\x1f")[2]
    assert made.text == re.sub(r"\n{3,}", "\n\n", body).strip("\n") + "\n"


def test_a_text_may_contain_what_the_compiler_uses_as_marks() -> None:
    assert "qz0v0x qz1v5x" in compiled("qz0v0x qz1v5x").render({"patient.preferred_name": "A"}).text


def test_plain_text_for_the_gate_leaves_links_out() -> None:
    source = text(HELLO + "[Look]({{ link.page }})\n\nOr [write](mailto:a@example.org) now.\n")
    assert plain_text(source, sample_values("en")) == "Hello Asha.\n\nLook.\n\nOr write. now.\n"


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Wednesday 23 September 14:30 14:30 (London time)"),
        ("de", "Mittwoch 23. September 14:30 Uhr 14:30 Uhr (Ortszeit London)"),
        ("fr", "mercredi 23 septembre 14:30 14:30 (Londres)"),
    ],
)
def test_dates_are_written_in_the_language(language: str, said: str) -> None:
    values = sample_values(language)
    at, day = time(14, 30), date(2026, 9, 23)
    assert values["review.date"] == day_in_words(day, language)
    assert said == " ".join(
        (
            weekday_in_words(day, language),
            day_in_words(day, language),
            time_in_words(at, language),
            time_in_words(at, language, "Europe/London"),
        )
    )


def test_an_unknown_language_is_told() -> None:
    with pytest.raises(ValueError, match="expected a tag"):
        locale_of("xx-nowhere")
