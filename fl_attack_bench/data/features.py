"""What a vertical task makes of a dataset: who holds which features, and which samples carry the trigger."""

from torch import Tensor

from fl_attack_bench.data import split, trigger
from fl_attack_bench.data.datasets import Dataset
from fl_attack_bench.data.trigger import Poisoned
from fl_attack_bench.seeds import Streams
from fl_attack_bench.tasks import VerticalTask


def deal(task: VerticalTask, dataset: Dataset, seed: Streams) -> tuple[dict[str, Tensor], Poisoned | None]:
    """Places in the flattened sample by passive party, and the poisoned data; None on a task without a backdoor.

    Raises:
        UserError: the split does not fit the samples, the malicious party does not hold the trigger's places, nothing
            is poisoned, or no clean sample of the target class is left that an attacker could know.
    """
    places = split.places(task.split, dataset.image_shape)
    if task.backdoor is None or task.malicious is None:
        return places, None
    poisoned = trigger.poison(dataset, task.backdoor, places[task.malicious], seed.generator("poison"))
    known_to_attacker(task, dataset, poisoned, 1, seed)
    return places, poisoned


def known_to_attacker(task: VerticalTask, dataset: Dataset, poisoned: Poisoned, count: int, seed: Streams) -> Tensor:
    """Ids of clean training samples of the target class.

    Raises:
        UserError: there are fewer, or the task has no target.
    """
    target = task.backdoor.target if task.backdoor else -1
    return trigger.clean(dataset.y_train, poisoned.poisoned, target, count, seed.generator("known", "target"))
