"""Address first: the one mail that goes to an address nobody has confirmed yet, and asks whether it is hers.

It is a step of no protocol: wanted of one of her plans while the address is unconfirmed and there is a page to answer
on. Its occurrence is the version of the address, so each address is asked once, and a person may ask again.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from db.states import LIVE_STATES, AddressState, Reason, ReminderState
from scheduler.local_time import to_wall
from scheduler.planning.course import Course
from scheduler.planning.facts import PatientFacts, PlanFacts, Rules, Stored
from scheduler.planning.protocol import CONFIRM
from scheduler.planning.verdict import judge
from scheduler.planning.wanted import Wanted, allowed, end_of

_ASKED = frozenset(
    {ReminderState.SENDING, ReminderState.SENT, ReminderState.FAILED, ReminderState.MISSED, ReminderState.DONE}
)


def confirmation(
    plans: Sequence[PlanFacts],
    courses: Mapping[UUID, Course],
    superseded: Iterable[UUID],
    patient: PatientFacts,
    rows: Iterable[Stored],
    rules: Rules,
) -> list[Wanted]:
    """The question whether the address is hers, or nothing. It stays with the plan that asked it first."""
    if not rules.has_pages or patient.address is not AddressState.UNCONFIRMED:
        return []
    over = set(superseded)
    plan = _who_asks(plans, courses, over, [row for row in rows if _is_this_question(row, patient)])
    if plan is None:
        return []
    own_at = max(patient.email_given_at or plan.entered_at, plan.entered_at)
    due_at = allowed(CONFIRM, own_at, patient.zone, rules)
    due_local = to_wall(due_at, patient.zone)
    return [
        Wanted(
            plan=plan,
            step=CONFIRM,
            occurrence=patient.email_version,
            review=None,
            basis=to_wall(own_at, patient.zone).date().isoformat(),
            own_at=own_at,
            due_at=due_at,
            due_local=due_local,
            zone=patient.zone,
            expires_at=end_of(CONFIRM.expires_after, to_wall(own_at, patient.zone), own_at, patient.zone),
            verdict=judge(CONFIRM, None, due_at, plan, courses[plan.id], patient, due_at if plan.id in over else None),
        )
    ]


def _is_this_question(row: Stored, patient: PatientFacts) -> bool:
    return row.step == CONFIRM.key and row.occurrence == patient.email_version


def _who_asks(
    plans: Sequence[PlanFacts], courses: Mapping[UUID, Course], superseded: set[UUID], rows: Sequence[Stored]
) -> PlanFacts | None:
    """The plan that asked, or that a person said no for; else the one that is about to ask, while it runs."""
    settled = {row.plan_id for row in rows if row.state in _ASKED or row.reason in (Reason.UNKNOWN, Reason.BY_STAFF)}
    waiting = {row.plan_id for row in rows if row.state in LIVE_STATES}
    running = [
        plan
        for plan in plans
        if not (plan.cancelled or plan.id in superseded or courses[plan.id].stopped or courses[plan.id].completed)
    ]
    in_turn = [
        *(plan for plan in plans if plan.id in settled),
        *(plan for plan in running if plan.id in waiting),
        *sorted(running, key=lambda plan: courses[plan.id].on_hold),  # one on hold only where no other could ask
        *(plan for plan in plans if plan.id in waiting),  # over: judged once more for the reason it ends with
    ]
    return next(iter(in_turn), None)
