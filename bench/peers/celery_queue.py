"""Celery: one task a message in Redis, two processes, acknowledged early; a worker that goes on until it is stopped."""
# mypy: disable-error-code="import-not-found"

from celery import Celery

from bench.peers import arguments, persistent

PROCESSES = 2


def main() -> None:
    """Fill the queue, or work it off."""
    told = arguments.read()
    app = Celery("mails", broker=f"redis://127.0.0.1:{told.store}/0")
    app.conf.task_ignore_result = True
    app.conf.broker_connection_retry_on_startup = True

    def send(number: int) -> None:
        persistent.send(told.port, number)

    task = app.task(name="send")(send)
    if told.what == "fill":
        for number in range(told.messages):
            task.delay(number)
    else:
        app.worker_main(["worker", "--pool=prefork", f"--concurrency={PROCESSES}", "--loglevel=warning"])


if __name__ == "__main__":
    main()
