"""Address first: the one mail that goes to an address nobody has confirmed yet, and asks whether it is hers.

It is a step of no protocol: wanted of one of her plans while the address is unconfirmed and there is a page to answer
on. Its occurrence is the version of the address, so each address is asked once, and a person may ask again.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from db.states import AddressState, Reason
from scheduler.local_time import to_wall
from scheduler.planning.course import Course
from scheduler.planning.facts import PatientFacts, PlanFacts, Rules, Stored
from scheduler.planning.protocol import CONFIRM
from scheduler.planning.verdict import MAY_GO, Verdict, cancelled, held, messages_stopped
from scheduler.planning.wanted import Wanted, allowed, end_of


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
    asked = {row.plan_id for row in rows if row.step == CONFIRM.key and row.occurrence == patient.email_version}
    over = set(superseded)
    running = [
        plan
        for plan in plans
        if not (plan.cancelled or plan.id in over or courses[plan.id].stopped or courses[plan.id].completed)
    ]
    plan = next((plan for plan in plans if plan.id in asked), None) or next(iter(running), None)
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
            verdict=_judge(plan, patient, plan in running),
        )
    ]


def _judge(plan: PlanFacts, patient: PatientFacts, runs: bool) -> Verdict:
    reason = messages_stopped(patient)
    if reason:
        return cancelled(reason)
    if not runs:
        return cancelled(Reason.NO_LONGER_APPLIES)
    if False in patient.consent.values() and True not in patient.consent.values():
        return cancelled(Reason.CONSENT_WITHDRAWN)
    if not patient.consent:
        return held(Reason.CONSENT_MISSING)
    if plan.approved_templates is not None and CONFIRM.template not in plan.approved_templates:
        return held(Reason.NOT_APPROVED)
    return MAY_GO
