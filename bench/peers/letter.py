"""The message that all peers send: 3.3 kB of text and HTML from templates, for one invented patient each."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid

from jinja2 import Environment

SENDER = "post@example.org"
SUBJECT = "A message from {{ clinic }}"
TEXT = """\
Hello {{ name }},

this is the message of {{ clinic }} about your visit on {{ day }}. It has been two days since then, and we would like
to know how you are. Most people feel well by now; a little soreness for a day or two is usual and goes by itself.

Please ring {{ phone }} ({{ hours }}) when something worries you, when you would like another time for your next visit,
or when you have a question that will not wait until then. You need not explain anything on the phone: say that you had
a message from us, and that you would like to talk.

{% for line in lines %}- {{ line }}
{% endfor %}
Your next visit is on {{ next_day }}. Please bring this message, or only the date.

{{ clinic }}
{{ phone }}
"""
HTML = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ clinic }}</title></head>
<body style="margin:0;padding:24px;font-family:sans-serif;font-size:16px;line-height:1.5;color:#222">
<p>Hello {{ name }},</p>
<p>this is the message of <b>{{ clinic }}</b> about your visit on {{ day }}. It has been two days since then, and we
would like to know how you are. Most people feel well by now; a little soreness for a day or two is usual and goes by
itself.</p>
<p>Please ring <a href="tel:{{ phone }}">{{ phone }}</a> ({{ hours }}) when something worries you, when you would like
another time for your next visit, or when you have a question that will not wait until then. You need not explain
anything on the phone: say that you had a message from us, and that you would like to talk.</p>
<ul>{% for line in lines %}<li style="margin:0 0 8px 0;padding:0">{{ line }}</li>
{% endfor %}</ul>
<p>Your next visit is on {{ next_day }}. Please bring this message, or only the date.</p>
<p style="color:#666;font-size:14px">{{ clinic }}<br>{{ phone }}</p>
</body></html>
"""

_environment = Environment(autoescape=True)
_subject, _text, _html = (_environment.from_string(source) for source in (SUBJECT, TEXT, HTML))


def values(number: int) -> dict[str, object]:
    """What stands in the message of that patient; plain enough to travel as JSON."""
    return {
        "name": f"Asha {number}",
        "clinic": "Orchard Lane",
        "day": "Tuesday 24 November",
        "next_day": "Monday 7 December at 10:30",
        "phone": "020 7946 0100",
        "hours": "Monday to Friday, 9 to 17",
        "lines": ["Drink enough, and rest when you are tired.", "No sport until the day after tomorrow."],
    }


def recipient(number: int) -> str:
    """The address of that patient."""
    return f"p{number}@example.org"


def write(number: int) -> EmailMessage:
    """The message the ordinary way: Jinja2 templates, compiled once, and `EmailMessage`."""
    found = values(number)
    message = EmailMessage(policy=SMTP)
    message["Subject"] = _subject.render(found)
    message["From"] = f"Orchard Lane <{SENDER}>"
    message["To"] = recipient(number)
    message["Message-ID"] = make_msgid(domain="example.org")
    message.set_content(_text.render(found))
    message.add_alternative(_html.render(found), subtype="html")
    return message
