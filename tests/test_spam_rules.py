"""SpamAssassin's own rules, without the network, find nothing against our mails. Left out where it is not installed."""

import re
import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from scheduler.messages import compile_message, sample_values
from scheduler.mime import MailHeaders, MailWriter, Sender
from scheduler.settings import SHIPPED
from scheduler.template_files import list_templates, read_source

PROGRAM = shutil.which("spamassassin")
FILES = list_templates([SHIPPED])
SENDER = Sender("office@example.org", "The office", "office@example.org", "example.org")
KEYS = [
    ("notice", "en", "general"),
    ("confirm_address", "en", "general"),
    ("plan_week", "en", "general"),
    ("plan_week", "en", "full"),
    ("notice", "de", "general"),
]


@pytest.mark.long
@pytest.mark.skipif(PROGRAM is None, reason="spamassassin is not installed")
@pytest.mark.parametrize("text_id", KEYS, ids="-".join)
def test_no_rule_counts_against_our_mails(text_id: tuple[str, str, str]) -> None:
    key, language, _ = text_id
    parts = [read_source(FILES[(part, language, "general")]) for part in ("urgent_general", "_footer")]
    compiled = compile_message(read_source(FILES[text_id]), *([] if key == "confirm_address" else parts))
    rendered = compiled.render(sample_values(language, compiled.names))
    headers = MailHeaders(
        to="asha@example.org",
        message_id="<0123456789abcdef0123456789abcdef@example.org>",
        date=datetime.now(UTC),
        list_unsubscribe_mailto="mailto:office@example.org?subject=stop",
        list_unsubscribe_https="https://letters.example.org/u/k0123456789jkqwxz0123456789jkqwxz",
    )
    mail = MailWriter(SENDER).assemble(rendered, headers)
    judged = subprocess.run(
        [str(PROGRAM), "-L", "-t"], input=mail, capture_output=True, timeout=120, check=False
    ).stdout.decode(errors="replace")
    found = re.search(r"score=(-?[\d.]+)", judged)
    assert found is not None
    assert float(found[1]) <= 0, judged.partition("Content analysis details")[2]
