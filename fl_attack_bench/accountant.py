"""Privacy accounting: what noise on every upload guarantees, by the kept library ``dp-accounting``.

The unit of privacy is a client: neighbouring datasets replace all of one client's data, so a clipped upload moves by
at most twice the clipping norm. Two adversaries are accounted for. The *server* sees each noisy upload by itself and
knows who takes part, so sampling hides nothing from it: the epsilon composes as many mechanisms as the busiest client's
participations. Whoever sees *only the models* sees sums of K noisy uploads of clients drawn without replacement, which
is amplified by sampling (Renyi accounting, Wang et al. 2019).
"""

from typing import Any

from fl_attack_bench.api import Exposure, Guarantee

# Below this noise multiplier the privacy-loss distribution is too wide to discretise in reasonable time.
_SMALLEST_FOR_PLD = 0.3
_STATISTICS = "No guarantee: running statistics of batch norm travel without noise."
_UNBOUNDED = "No guarantee: without clipping one client's data can move the upload arbitrarily far."


def gaussian(scale: float, clip: float | None, exposure: Exposure) -> Guarantee:
    """Guarantee of normal noise of standard deviation ``scale`` on uploads clipped to an L2 norm of ``clip``."""
    if clip is None or exposure.statistics:
        return Guarantee(_UNBOUNDED if clip is None else _STATISTICS)
    import dp_accounting

    multiplier = scale / (2 * clip)
    delta = _delta(exposure)
    # T Gaussian mechanisms are one with sqrt(T) times less noise, exactly.
    together = multiplier / max(exposure.participations, 1) ** 0.5
    server = _epsilon(dp_accounting.GaussianDpEvent(together), together, delta)
    model = None
    if exposure.equal_weights:
        crowd = dp_accounting.GaussianDpEvent(multiplier * exposure.sampled**0.5)
        sampled = dp_accounting.SampledWithoutReplacementDpEvent(exposure.clients, exposure.sampled, crowd)
        # The models are made of what the server sees: they cannot tell more.
        model = min(server, _rdp(dp_accounting.SelfComposedDpEvent(sampled, exposure.rounds), delta))
    return _statement(server, model, delta, exposure)


def laplace(scale: float, clip: float | None, exposure: Exposure) -> Guarantee:
    """Guarantee of Laplace noise of parameter ``scale`` on uploads clipped to an L1 norm of ``clip``."""
    if clip is None or exposure.statistics:
        return Guarantee(_UNBOUNDED if clip is None else _STATISTICS)
    import dp_accounting

    multiplier = scale / (2 * clip)
    delta = _delta(exposure)
    times = max(exposure.participations, 1)
    event = dp_accounting.SelfComposedDpEvent(dp_accounting.LaplaceDpEvent(multiplier), times)
    # Pure composition holds at every delta and is the tighter bound for few participations.
    server = min(times / multiplier, _epsilon(event, multiplier / times**0.5, delta))
    return _statement(server, None, delta, exposure)


def _delta(exposure: Exposure) -> float:
    """One order of magnitude below one over the number of clients."""
    return 0.1 / exposure.clients


def _epsilon(event: Any, multiplier: float, delta: float) -> float:
    """Epsilon by the privacy-loss distribution where that is practical, else by the looser Renyi accounting."""
    if multiplier < _SMALLEST_FOR_PLD:
        return _rdp(event, delta)
    from dp_accounting.pld import PLDAccountant

    return float(PLDAccountant().compose(event).get_epsilon(delta))


def _rdp(event: Any, delta: float) -> float:
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    relation = dp_accounting.NeighboringRelation.REPLACE_ONE
    return float(RdpAccountant(neighboring_relation=relation).compose(event).get_epsilon(delta))


def _statement(server: float, model: float | None, delta: float, exposure: Exposure) -> Guarantee:
    against = f"epsilon {server:.3g} against the server over {exposure.participations} participations"
    seen = f", {model:.3g} against those who see only the models" if model is not None else ""
    text = f"Client-level differential privacy at delta {delta:.2g}: {against}{seen}."
    return Guarantee(text, delta=delta, epsilon_server=server, epsilon_model=model)
