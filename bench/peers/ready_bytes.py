"""Not a peer but a bound: aiosmtplib alone, so many connections, every message finished beforehand."""
# mypy: disable-error-code="import-not-found"

import asyncio

import aiosmtplib

from bench.peers import arguments, letter


async def send(port: int, messages: int, connections: int) -> None:
    """Hand the same bytes over so many times."""
    ready = letter.write(1).as_bytes()
    left = iter(range(messages))

    async def line() -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False)
        async with client:
            for number in left:
                await client.sendmail(letter.SENDER, [letter.recipient(number)], ready)

    await asyncio.gather(*(line() for _ in range(connections)))


if __name__ == "__main__":
    told = arguments.read()
    asyncio.run(send(told.port, told.messages, told.connections))
