"""How surely a mean loss lies below a limit, from n losses: p-values that hold for every n, without assumptions.

Each tests "the mean is above ε". Rejecting where p ≤ δ errs with probability at most δ, if the losses are independent
and alike. Sources: Bates et al., Distribution-free, risk-controlling prediction sets, arXiv 2101.02703
(Hoeffding–Bentkus); Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, arXiv 2010.09686
(betting); Clopper and Pearson 1934 (exact, for losses of 0 and 1).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Losses = npt.NDArray[np.floating]
"""[N, T]: losses of N images at each of T settings, from 0 to 1."""

PValues = npt.NDArray[np.float64]
"""[T]."""

_ORDER_SEED = 0
_BOLDEST_BET = 0.9  # of the largest with which no single loss can ruin the gambler


def exact_p(losses: Losses, epsilon: float) -> PValues:
    """The binomial tail: as sharp as can be for losses that are 0 or 1.

    Args:
        losses: [N, T], each 0 or 1.
        epsilon: limit of the mean, in (0, 1).
    """
    return np.asarray(binomial_tail(len(losses), epsilon)[np.rint(losses.sum(axis=0)).astype(np.intp)])


def hoeffding_bentkus_p(losses: Losses, epsilon: float) -> PValues:
    """The smaller of two bounds on the tail of a mean.

    Args:
        losses: [N, T], from 0 to 1.
        epsilon: limit of the mean, in (0, 1).
    """
    count, mean = len(losses), losses.mean(axis=0, dtype=np.float64)
    below = np.minimum(mean, epsilon)
    hoeffding = np.exp(-count * _divergence(below, epsilon))
    sums = np.ceil(count * mean - 1e-9).astype(np.intp).clip(0, count)
    bentkus = math.e * binomial_tail(count, epsilon)[sums]
    return np.asarray(np.minimum(1.0, np.minimum(hoeffding, bentkus)))


def betting_p(losses: Losses, epsilon: float, delta: float) -> PValues:
    """The luck of a gambler who bets that the mean is below the limit; sharp where losses vary little.

    Losses are taken in an order drawn with a fixed seed, as files come sorted by class and bets learn from the past.

    Args:
        losses: [N, T], from 0 to 1.
        epsilon: limit of the mean, in (0, 1).
        delta: level at which the bets are aimed; the p-value holds at every level.
    """
    count = len(losses)
    ordered = losses[np.random.default_rng(_ORDER_SEED).permutation(count)].astype(np.float64)
    seen = np.arange(1, count + 1)[:, None]
    means = (0.5 + ordered.cumsum(axis=0)) / (seen + 1)
    variances = (0.25 + ((ordered - means) ** 2).cumsum(axis=0)) / (seen + 1)
    before = np.concatenate((np.full((1, losses.shape[1]), 0.25), variances[:-1]))  # a bet knows what came before it
    bets = np.minimum(_BOLDEST_BET / (1 - epsilon), np.sqrt(2 * math.log(1 / delta) / (count * before)))
    capital = np.log1p(-bets * (ordered - epsilon)).cumsum(axis=0).max(axis=0, initial=0.0)
    return np.asarray(np.exp(-capital))


def binomial_tail(count: int, probability: float) -> PValues:
    """P(X ≤ k) for X ~ Binomial(count, probability) and k = 0 … count, [count + 1]."""
    successes = np.arange(count + 1)
    factorials = np.concatenate(([0.0], np.log(np.arange(1, count + 1)).cumsum()))
    logs = (
        factorials[-1]
        - factorials
        - factorials[::-1]
        + successes * math.log(probability)
        + (count - successes) * math.log1p(-probability)
    )
    return np.asarray(np.minimum(1.0, np.exp(logs).cumsum()))


def _divergence(mean: npt.NDArray[np.float64], limit: float) -> npt.NDArray[np.float64]:
    """Kullback–Leibler divergence of two coins."""
    with np.errstate(divide="ignore", invalid="ignore"):
        heads = np.where(mean > 0, mean * np.log(mean / limit), 0.0)
        tails = np.where(mean < 1, (1 - mean) * np.log((1 - mean) / (1 - limit)), 0.0)
    return np.asarray(heads + tails)
