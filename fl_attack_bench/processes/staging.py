"""What a suite's task gives the parties: the same samples, batches, first weights and seeds as a run of the suite."""

from dataclasses import fields
from itertools import islice

from fl_attack_bench import registry
from fl_attack_bench.api import LABELS, OWNER, Holding, OutsourcedDefense
from fl_attack_bench.errors import UserError
from fl_attack_bench.jobs import Job, Settings
from fl_attack_bench.play.outsourced_stage import OutsourcedStage
from fl_attack_bench.processes.play import Play
from fl_attack_bench.suite import Cell, MethodSpec

_REPRODUCIBLE = "reproducible"


def seeded(spec: MethodSpec, where: str) -> MethodSpec:
    """A protocol with its secrets drawn from the cell's seed, where it can do so: two runs can then be compared.

    Raises:
        UserError: there is no such defense, it is a chain, or it is for another scenario.
    """
    if spec.links:
        raise UserError(f"{where}: protocols of outsourced tasks cannot be chained")
    cls = registry.find("defense", spec.name, where).cls
    if not issubclass(cls, OutsourcedDefense):
        raise UserError(f"{where}: {spec.name} is not for outsourced tasks")
    if _REPRODUCIBLE not in {field.name for field in fields(cls)}:
        return spec
    return MethodSpec(name=spec.name, parameters={**spec.parameters, _REPRODUCIBLE: True})


def staged(cell: Cell, settings: Settings, steps: int, predictions: int) -> tuple[Play, OutsourcedDefense]:
    """What is played, and the protocol.

    Args:
        cell: of an outsourced task.
        settings: where its data lies.
        steps: training steps; none are played where the protocol does not train.
        predictions: batches of test samples, of the task's size; from the first sample again where there are fewer.

    Raises:
        UserError: more steps than the task has, or data or a network that do not fit.
        SkipCell: the protocol cannot compute this network.
    """
    stage = OutsourcedStage(Job(kind="training", cell=cell), settings)
    defense = stage.defense
    if steps > stage.task.training.steps:
        raise UserError(f"{steps} steps: task {stage.task.name!r} has {stage.task.training.steps}")
    plan = stage.plan(len(stage.features["train"]) if defense.trains else 0)
    names = tuple(defense.parties(plan))
    holdings = {
        OWNER: Holding(features=stage.features["train"][: plan.samples]),
        LABELS: Holding(targets=stage.wanted["train"][: plan.samples]),
    }
    holder = holdings.get(defense.model_holder, Holding())
    holdings[defense.model_holder] = Holding(holder.features, holder.targets, stage.initial())
    size = stage.task.inference_batch
    drawn = stage.cycled(size * predictions).split(size) if predictions else ()
    what = Play(
        defense=cell.defense,
        names=names,
        plan=plan,
        holdings={name: held for name, held in holdings.items() if name in names},
        batches=tuple(islice(stage.batches(), steps if defense.trains else 0)),
        features=tuple(stage.features["test"][rows] for rows in drawn),
        streams=stage.seed.child("secrets", "processes") if defense.from_seed else None,
    )
    return what, defense
