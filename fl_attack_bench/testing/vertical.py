"""What a vertical defense must keep: shapes, gradients, its stream alone, and a mask that says what is sent."""

import math
import statistics

import torch
from torch import Tensor

from fl_attack_bench import hardware
from fl_attack_bench.aggregation import Stopwatch
from fl_attack_bench.api import ACTIVE, Batch, Exchange, Returned, Top, VerticalDefense
from fl_attack_bench.codec import decode, encode
from fl_attack_bench.scenarios import vertical_parties
from fl_attack_bench.seeds import Streams
from fl_attack_bench.testing import collaboration
from fl_attack_bench.testing.collaboration import drawn
from fl_attack_bench.testing.finding import Broken, Check, NotApplicable, Subject
from fl_attack_bench.wire import Wire
from fl_attack_bench.worker import reset

PARTIES, BATCH, WIDTH, CLASSES = 3, 16, 8, 5
_EPOCHS = 3


def top(subject: Subject) -> str:
    """The top model gives logits of every sample, can be differentiated, and draws from its generator alone."""
    tops = []
    for stream in ("first", "second"):
        reset(stream, 1, tf32=False)
        made = subject.make().top(PARTIES, WIDTH, CLASSES, Streams(0).generator("top"))
        if made is None:
            raise NotApplicable("it keeps the task's own top model, the sum")
        if not isinstance(made, Top):
            raise Broken(f"top returns a {type(made).__name__}: derive it from fl_attack_bench.api.Top")
        tops.append(made)
    embeddings = drawn(PARTIES, BATCH, WIDTH).requires_grad_()
    logits = tops[0](embeddings)
    if logits.ndim != 2 or len(logits) != BATCH or logits.shape[1] < CLASSES:
        raise Broken(f"top gives {tuple(logits.shape)} for {(PARTIES, BATCH, WIDTH)} in place of ({BATCH}, {CLASSES})")
    loss = logits[:, :CLASSES].square().sum()
    gradient = torch.autograd.grad(loss, embeddings, allow_unused=True)[0] if loss.requires_grad else None
    if gradient is None:
        raise Broken("no gradient comes through the top model: leave out detach, no_grad and rounding")
    if not bool(gradient.isfinite().all()) or not bool(gradient.any()):
        raise Broken("the gradient through the top model is infinite, NaN or zero everywhere")
    states = [torch.cat([p.detach().flatten() for p in made.state_dict().values()] or [drawn(1)]) for made in tops]
    if not torch.equal(*states):
        raise Broken("two top models from the same generator differ: draw their weights from rng")
    return f"{type(tops[0]).__name__}, {sum(p.numel() for p in tops[0].parameters())} weights"


def incoming(subject: Subject) -> str:
    """Embeddings keep their shape; two instances with the same stream change them alike."""
    given = drawn(BATCH, WIDTH)
    found = []
    for stream in ("first", "second"):
        reset(stream, 1, tf32=False)
        defense, rng = subject.make(), Streams(0).generator("defense")
        kept = given.clone()
        found.append(defense.incoming(kept, _exchange(rng, "party/0")))
        _whole("incoming", found[-1], given)
    _alike("incoming", *found)
    return _changed("embeddings", found[0], given)


def outgoing(subject: Subject) -> str:
    """Gradients keep their shape; what the mask leaves out is zero, and the encoding says the same."""
    given = drawn(BATCH, WIDTH, axis="gradients")
    found: list[Returned] = []
    for stream in ("first", "second"):
        reset(stream, 1, tf32=False)
        defense, rng = subject.make(), Streams(0).generator("defense")
        found.append(defense.outgoing(Returned(given.clone()), _exchange(rng, "party/0")))
        _whole("outgoing", found[-1].values, given)
    _alike("outgoing", found[0].values, found[1].values)
    returned = found[0]
    if (sent := returned.sent) is not None:
        if sent.dtype != torch.bool or sent.shape != given.shape:
            raise Broken(f"sent is {sent.dtype} of shape {tuple(sent.shape)} in place of bool {tuple(given.shape)}")
        if bool(returned.values[~sent].any()):
            raise Broken("entries that sent leaves out are not zero: mask the values too")
    data = encode(vertical_parties.written(returned))
    heard = vertical_parties.read(decode(data), BATCH, WIDTH)
    if not torch.equal(heard.values, returned.values):
        raise Broken("the receiver decodes other gradients than those returned")
    return f"{_changed('gradients', returned.values, given)}; {len(data)} bytes for {BATCH} samples"


def own_party(subject: Subject) -> str:
    """What one party is returned does not change with what the others are returned."""
    given, seen = drawn(BATCH, WIDTH), []
    for other in ("one", "other"):
        reset("party", 1, tf32=False)
        defense, rng = subject.make(), Streams(0).generator("defense")
        defense.incoming(drawn(BATCH, WIDTH, axis=other), _exchange(rng, "party/1"))
        defense.outgoing(Returned(drawn(BATCH, WIDTH, axis=other)), _exchange(rng, "party/1"))
        came = defense.incoming(given.clone(), _exchange(rng, "party/0"))
        went = defense.outgoing(Returned(given.clone()), _exchange(rng, "party/0")).values
        seen.append(torch.stack([came, went]))
    if not torch.equal(*seen):
        raise Broken("one party's numbers change with another's: keep state in exchange.memory, not in globals")
    return "the other parties' numbers changed, and one party's stayed the same"


def on_cpu(subject: Subject) -> str:
    """A small training under it; twice the same, and seconds of the defense in one exchange."""
    weights = []
    for stream in ("first", "second"):
        reset(stream, 1, tf32=False)
        said, weight = _trained(subject.make(), "cpu")
        weights.append(weight)
    if not torch.equal(*weights):
        raise Broken("two trainings with the same streams end differently: draw from exchange.rng and top's rng alone")
    return said


def on_cuda(subject: Subject) -> str:
    """The same on a GPU, where there is one."""
    if not torch.cuda.is_available():
        raise NotApplicable("no CUDA device on this machine")
    reset("cuda", 1, tf32=False)
    return _trained(subject.make(), "cuda")[0]


def _trained(defense: VerticalDefense, device: str) -> tuple[str, Tensor]:
    """What was measured, and what the parties predict in the end."""
    world = collaboration.world()
    parties, spent = world.parties(defense, Wire(), device), []
    for epoch in range(_EPOCHS):
        watch = Stopwatch(hardware.clock(device))
        if not parties.epoch(epoch, watch):
            raise Broken(f"epoch {epoch} of a small training ran off: its loss is infinite or NaN")
        spent.append(watch.speaking[ACTIVE] / len(parties.batches(epoch)))
    test = world.aligned(world.dataset.x_test.to(device), world.dataset.y_test.to(device))
    logits = parties.predict(test, Wire())
    if not bool(logits.isfinite().all()):
        raise Broken("predictions after a small training are infinite or NaN")
    milliseconds = 1000 * statistics.median(spent[1:])
    return f"{milliseconds:.3f} ms of defense in one exchange of {world.task.training.batch_size} samples", logits.cpu()


def _exchange(rng: torch.Generator, receiver: str) -> Exchange:
    return Exchange(Batch(0, 0, torch.arange(BATCH)), 4 * BATCH, receiver, rng)


def _whole(verb: str, found: object, given: Tensor) -> None:
    if not isinstance(found, Tensor) or found.shape != given.shape or found.dtype != given.dtype:
        shown = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise Broken(f"{verb} gives {shown} in place of {given.dtype} {tuple(given.shape)}")
    if not bool(found.isfinite().all()):
        raise Broken(f"{verb} gives infinity or NaN")


def _alike(verb: str, one: Tensor, other: Tensor) -> None:
    if not torch.equal(one, other):
        raise Broken(f"{verb} differs in two runs with the same stream: draw every random number from exchange.rng")


def _changed(what: str, found: Tensor, given: Tensor) -> str:
    moved = float((found - given).norm() / given.norm())
    return f"{what} left as they are" if math.isclose(moved, 0) else f"{what} moved by {moved:.2g} of their length"


CHECKS = (
    Check("vertical: top model", top),
    Check("vertical: embeddings", incoming),
    Check("vertical: gradients", outgoing),
    Check("vertical: own party", own_party),
    Check("vertical: CPU", on_cpu),
    Check("vertical: CUDA", on_cuda),
)
