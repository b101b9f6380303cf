"""procrastinate: one job a message in PostgreSQL, 20 at a time, over a pool of persistent aiosmtplib connections."""
# mypy: disable-error-code="import-not-found"

import asyncio

import aiosmtplib
from procrastinate import App, PsycopgConnector

from bench.peers import arguments, letter

CONCURRENCY = 20


async def fill(app: App, messages: int) -> None:
    """The tables and one deferred job a message."""
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await app.tasks["send"].batch_defer_async(*({"number": number} for number in range(messages)))


async def work(app: App, port: int, connections: int) -> None:
    """Send until nothing is left."""
    async with app.open_async():
        for _ in range(connections):
            client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
            await client.connect()
            pool.put_nowait(client)
        await app.run_worker_async(concurrency=CONCURRENCY, wait=False)
        while not pool.empty():
            await pool.get_nowait().quit()


async def send(number: int) -> None:
    """The job."""
    client = await pool.get()
    try:
        await client.send_message(letter.write(number))
    finally:
        pool.put_nowait(client)


pool: "asyncio.Queue[aiosmtplib.SMTP]" = asyncio.Queue()

if __name__ == "__main__":
    told = arguments.read()
    jobs = App(connector=PsycopgConnector(conninfo=told.store))
    jobs.task(name="send")(send)
    if told.what == "fill":
        asyncio.run(fill(jobs, told.messages))
    else:
        asyncio.run(work(jobs, told.port, told.connections))
