"""Who takes part in a sharing protocol, and with which session."""

from collections.abc import Mapping
from functools import partial

from fl_attack_bench.api.outsourced import COMPUTE, HELPER, LABELS, OWNER, THIRD, Endpoint, Entering, Holding, Plan
from fl_attack_bench.sharing.arithmetic import Arithmetic
from fl_attack_bench.sharing.assist import HelperSession, ThirdSession
from fl_attack_bench.sharing.compute import ComputeSession
from fl_attack_bench.sharing.fast import FastParty, Trainer
from fl_attack_bench.sharing.network import Learner, Masks
from fl_attack_bench.sharing.session import Session

Sessions = Mapping[str, type[Session]]

WITH_THIRD_PARTY: Sessions = {
    OWNER: Session,
    LABELS: Session,
    COMPUTE[0]: ComputeSession,
    COMPUTE[1]: ComputeSession,
    HELPER: HelperSession,
    THIRD: ThirdSession,
}


def learners(plan: Plan, arithmetic: Arithmetic, masks: Masks, sessions: Sessions) -> Mapping[str, Entering]:
    """The parties that learn and predict with the whole network shared.

    Args:
        plan: the sizes.
        arithmetic: how numbers are held.
        masks: of the training set's features.
        sessions: by party; without a third party the compute parties' sessions evaluate activations themselves.
    """

    def enter(cls: type[Session], endpoint: Endpoint, holding: Holding) -> Learner:
        session = cls(endpoint, arithmetic, _sharing(sessions))
        return Learner(session, plan, holding, masks, ahead=endpoint.name == HELPER)

    return {name: partial(enter, cls) for name, cls in sessions.items()}


def fast_learners(plan: Plan, arithmetic: Arithmetic, masks: Masks, trainer: str) -> Mapping[str, Entering]:
    """The parties that learn and predict with the first layer shared and the rest at the trainer."""
    sessions = dict(WITH_THIRD_PARTY)
    del sessions[THIRD]
    if trainer == THIRD:
        sessions[THIRD] = Session

    def enter(cls: type[Session], endpoint: Endpoint, holding: Holding) -> FastParty:
        session = cls(endpoint, arithmetic, _sharing(sessions))
        party = Trainer if endpoint.name == trainer else FastParty
        return party(session, plan, holding, masks, trainer, ahead=endpoint.name == HELPER)

    return {name: partial(enter, cls) for name, cls in sessions.items()}


def _sharing(sessions: Sessions) -> list[str]:
    return [name for name in sessions if name not in COMPUTE]
