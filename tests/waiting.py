"""Waiting for what a page began in a thread of its own: where it leads once it has ended."""

import asyncio
from time import monotonic

import httpx

from tests.staffed import Browser, place

PATIENCE = 30.0  # seconds: a shared machine may be slow; works of the tests take far less


async def finished(browser: Browser, answer: httpx.Response) -> str:
    """Follow an answer to where its work leads. Raises when the work ends by telling what went wrong."""
    path = place(answer)
    until = monotonic() + PATIENCE
    while path.startswith("/progress/"):
        assert monotonic() < until, "the work does not end"
        page = await browser.get(path)
        if page.status_code == 303:
            return place(page)
        assert "Go on</a>" not in page.text, page.text
        await asyncio.sleep(0.05)
    return path
