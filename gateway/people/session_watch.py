"""Asks the directory again about people who are signed in, every few minutes: a session must not outlive a membership for long."""

import asyncio

import structlog

from gateway.people.authentication import PeopleAuthentication
from gateway.people.directory import DirectoryAway


async def watch_sessions(people: PeopleAuthentication, every_s: float) -> None:
    """Look every ``every_s`` until cancelled. A directory that is away takes nobody's session; it is said and asked again."""
    log = structlog.get_logger()
    while True:
        await asyncio.sleep(every_s)
        try:
            ended = await people.look_again()
        except DirectoryAway as error:
            log.warning("the directory was not asked again about people who are signed in", why=str(error))
            continue
        if ended:
            log.info("people lost their sessions: the directory says other things of them now", people=ended)
