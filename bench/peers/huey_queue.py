"""huey: one task a message in SQLite with fsync, 10 threads; a worker that goes on until it is stopped."""
# mypy: disable-error-code="import-not-found"

from huey import SqliteHuey

from bench.peers import arguments, persistent

WORKERS = 10


def main() -> None:
    """Fill the queue, or work it off."""
    told = arguments.read()
    queue = SqliteHuey("mails", filename=told.store, fsync=True, results=False)
    task = queue.task(name="send")(lambda number: persistent.send(told.port, number))
    if told.what == "fill":
        for number in range(told.messages):
            task(number)
    else:
        queue.create_consumer(workers=WORKERS, worker_type="thread").run()


if __name__ == "__main__":
    main()
