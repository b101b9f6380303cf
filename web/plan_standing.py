"""How a care plan stands, as a shape and a sentence: the same on the treatment's page and on the patient's.

What follows for its messages is in `scheduler.planning`.
"""

from collections.abc import Iterable
from typing import Final

from db.follow_up import CarePlan, Review
from db.states import CarePlanStatus

_STANDS: Final = {
    CarePlanStatus.ACTIVE: ("green", "The plan runs"),
    CarePlanStatus.ON_HOLD: ("amber", "The plan is on hold"),
    CarePlanStatus.COMPLETED: ("quiet", "The plan is completed"),
    CarePlanStatus.REVOKED: ("quiet", "The plan has ended"),
}


def runs(plan: CarePlan) -> bool:
    """Whether a plan still has messages or visits ahead that could be held or stopped."""
    return plan.status in (CarePlanStatus.ACTIVE, CarePlanStatus.ON_HOLD)


def standing(plan: CarePlan, reviews: Iterable[Review], paused: bool) -> tuple[str, str]:
    """How the plan stands: one whose messages are all done is not over while a review is still to come.

    `paused`: a complication is open, so what would run waits.
    """
    if plan.status is CarePlanStatus.ACTIVE and paused:
        return "amber", "The plan is paused"
    if plan.status is CarePlanStatus.COMPLETED and any(row.open for row in reviews):
        return "quiet", "Its messages are done; a review is still to come"
    return _STANDS[plan.status]
