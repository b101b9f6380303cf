"""How easy a text is to read: Flesch-Kincaid grade for English, length of sentences and number of words for all.

Which text is measured, and the report by file, is in `scheduler.template_files`.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

GRADE_PASSES: Final = 6.0  # school years; 11 to 12 years old
GRADE_WARNS: Final = 8.0
LONGEST_SENTENCE: Final = 20  # words
MOST_WORDS: Final = 150

# Every number, phone number or time with its colon counts as one short word.
_NUMBER = re.compile(r"\d[\d :.-]*\d|\d")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_END = re.compile(r"[.!?:]+(?=\s|$)|\n\s*\n")
_ITEM = re.compile(r"^(?:- |\d+\. )", re.MULTILINE)

_VOWELS = re.compile(r"[aeiouy]+")
_SILENT = re.compile(r"(?:[^laeiouy]es|[^laeiouy]e|[aeiouy]le|[^aeiouydt]ed)$")
_VOICED_ES = re.compile(r"(?:[sxzcg]|ch|sh)es$")
_TWO = re.compile(r"ia(?!l\b|n\b)|io(?!n|us)|[aeiouy]ing|[^q]ua|eo(?!u)|[aeiou]y[aeiou]|ism$|ie[rt]|^h?ours?$")


@dataclass(frozen=True, slots=True)
class Readability:
    """What was measured. `grade` is a United States school year (Kincaid 1975) and None for other languages."""

    words: int
    sentences: int
    grade: float | None
    longest: int
    longest_sentence: str


@dataclass(frozen=True, slots=True)
class ReadabilityFinding:
    """Where a text is harder to read than the gate allows: "fail" refuses it, "warn" only tells."""

    severity: Literal["warn", "fail"]
    problem: str


def measure(text: str, language: str) -> Readability:
    """Measure plain text without links. Headings and lines of a list count as sentences."""
    sentences = [words for part in sentences_of(text) if (words := _WORD.findall(part))]
    count = sum(map(len, sentences))
    longest = max(sentences, key=len, default=[])
    grade = None
    if language.partition("-")[0] == "en" and count:
        syllables = sum(count_syllables(word) for words in sentences for word in words)
        grade = 0.39 * count / len(sentences) + 11.8 * syllables / count - 15.59
    return Readability(count, len(sentences), grade, len(longest), " ".join(longest))


def judge(found: Readability) -> list[ReadabilityFinding]:
    """The gate: grade 6 passes, 8 warns, above fails; no sentence over 20 words; at most 150 words."""
    findings = []
    if found.grade is not None and found.grade > GRADE_PASSES:
        too_hard = found.grade > GRADE_WARNS
        limit = GRADE_WARNS if too_hard else GRADE_PASSES
        findings.append(
            ReadabilityFinding("fail" if too_hard else "warn", f"reads at grade {found.grade:.1f}, above {limit:.0f}")
        )
    if found.longest > LONGEST_SENTENCE:
        findings.append(
            ReadabilityFinding(
                "fail",
                f"a sentence of {found.longest} words, more than {LONGEST_SENTENCE}: {found.longest_sentence!r}",
            )
        )
    if found.words > MOST_WORDS:
        findings.append(ReadabilityFinding("fail", f"{found.words} words, more than {MOST_WORDS}"))
    return findings


def sentences_of(text: str) -> list[str]:
    """The sentences of a text; numbers, which no rule can pronounce, become one-syllable words."""
    apart = _END.sub("\0", _NUMBER.sub("one", _ITEM.sub("\0", text)))
    return [part for part in apart.split("\0") if part.strip()]


def count_syllables(word: str) -> int:
    """Syllables of an English word by rule: groups of vowels, less silent endings, more where two vowels part."""
    low = word.lower().replace("’", "'").replace("'", "")
    count = 0
    for part in low.split("-"):
        groups = len(_VOWELS.findall(part))
        if groups > 1 and _SILENT.search(part) and not _VOICED_ES.search(part):
            groups -= 1
        count += max(groups + len(_TWO.findall(part)), 1)
    return count
