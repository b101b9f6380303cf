"""One message a patient a day: sharing days out among all of her plans, and merging what says the same.

Works on the wanted sets alone, from their unspread times, so planning twice changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from db.states import Audience, Reason, ReminderState, StepKind
from scheduler.local_time import to_utc, to_wall
from scheduler.planning.facts import Rules
from scheduler.planning.protocol import Anchor
from scheduler.planning.verdict import cancelled
from scheduler.planning.wanted import Wanted, allowed

_RANK = {kind: rank for rank, kind in enumerate(StepKind)}


def spread(items: Sequence[Wanted], rules: Rules) -> list[Wanted]:
    """The same items; some with a later day, some cancelled as merged.

    On each calendar day of her zone the first by kind, then time, then step order stays. Others that may wait go to
    the next day as long as that is before their end, and are weighed again there; the rest stay.
    """
    order = {id(item): place for place, item in enumerate(items)}
    result: dict[int, Wanted] = {}
    days: dict[date, list[tuple[Wanted, int]]] = defaultdict(list)
    for item in items:
        place = order[id(item)]
        if _takes_part(item):
            days[item.due_local.date()].append((item, place))
        else:
            result[place] = item
    while days:
        day = min(days)
        crowd = sorted(days.pop(day), key=lambda pair: (_RANK[pair[0].step.kind], pair[0].due_local.time(), pair[1]))
        for merged, place in _merged(crowd):
            result[place] = merged
        staying = [pair for pair in crowd if pair[1] not in result]
        for position, (item, place) in enumerate(staying):
            may_wait = item.step.may_wait and item.step.at is not None
            moved = _next_day(item, rules) if position and may_wait else None
            if moved is None:
                result[place] = item
            else:
                days[moved.due_local.date()].append((moved, place))
    return [result[place] for place in range(len(items))]


def _takes_part(item: Wanted) -> bool:
    return (
        item.step.audience is Audience.PATIENT
        and item.verdict.state is not ReminderState.CANCELLED
        and not item.useless
    )


def _merged(crowd: Iterable[tuple[Wanted, int]]) -> list[tuple[Wanted, int]]:
    seen = set()
    merged = []
    for item, place in crowd:
        says = _says(item)
        if says is not None and says in seen:
            merged.append((replace(item, verdict=cancelled(Reason.MERGED)), place))
        seen.add(says)
    return merged


def _says(item: Wanted) -> tuple[object, ...] | None:
    """What the finished message would say, as far as it can differ; None for what is never merged.

    The urgent block and the clinic's own texts belong to the protocol: two messages that differ there are two. One that
    may go never disappears into one that is held.
    """
    if item.step.at is None:
        return None
    protocol = item.plan.protocol
    visit = item.basis if item.step.anchor is Anchor.REVIEW_BOOKED else None
    return (item.step.template, protocol.urgent, protocol.key if protocol.texts else None, visit, item.verdict)


def _next_day(item: Wanted, rules: Rules) -> Wanted | None:
    wall = datetime.combine(item.due_local.date() + timedelta(days=1), item.step.at or item.due_local.time())
    due_at = allowed(item.step, to_utc(wall, item.zone), item.zone, rules)
    if due_at >= item.expires_at:
        return None
    due_local = wall if due_at == to_utc(wall, item.zone) else to_wall(due_at, item.zone)
    return replace(item, due_at=due_at, due_local=due_local)
