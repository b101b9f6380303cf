"""django-post-office: a queue table, templates rendered at delivery, batches of 1,000 and 10 threads."""
# mypy: disable-error-code="import-not-found"

from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command

from bench.peers import arguments, letter

BATCH = 1_000
THREADS = 10


def database(store: str) -> dict[str, Any]:
    """Django's words for a SQLite file, or for a libpq address (host=… user=… dbname=…)."""
    if store.startswith("host="):
        parts = dict(part.split("=", 1) for part in store.split())
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parts["dbname"],
            "USER": parts["user"],
            "HOST": parts["host"],
        }
    options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL", "timeout": 60}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(store), "OPTIONS": options}


def fill(messages: int) -> None:
    """The tables, the template and one queued message a patient."""
    from post_office import mail
    from post_office.models import EmailTemplate

    call_command("migrate", verbosity=0)
    template = EmailTemplate.objects.create(
        name="how_are_you", subject=letter.SUBJECT, content=letter.TEXT, html_content=letter.HTML
    )
    for start in range(0, messages, BATCH):
        mail.send_many(
            [
                {
                    "recipients": [letter.recipient(number)],
                    "sender": f"Orchard Lane <{letter.SENDER}>",
                    "template": template,
                    "context": letter.values(number),
                    "render_on_delivery": True,
                }
                for number in range(start, min(start + BATCH, messages))
            ]
        )


def main() -> None:
    """Fill the queue, or send it with the command its documentation gives for cron."""
    told = arguments.read()
    settings.configure(
        DATABASES={"default": database(told.store)},
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=told.port,
        EMAIL_BACKEND="post_office.EmailBackend",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        POST_OFFICE={"BATCH_SIZE": BATCH, "THREADS_PER_PROCESS": THREADS},
    )
    django.setup()
    if told.what == "fill":
        fill(told.messages)
    else:
        processes = 2 if told.store.startswith("host=") else 1  # SQLite has one writer
        call_command("send_queued_mail", processes=processes)


if __name__ == "__main__":
    main()
