"""The loss of each image at each exit, and p-values of "the mean loss is above a limit".

The p-values are valid for every number of images without further assumptions: rejecting where p ≤ α errs with
probability at most α, if the losses are independent and identically distributed. Sources: Bates et al.,
Distribution-free, risk-controlling prediction sets, arXiv 2101.02703 (Hoeffding–Bentkus); Waudby-Smith and Ramdas,
Estimating means of bounded random variables by betting, arXiv 2010.09686 (betting); Clopper and Pearson 1934 (exact,
for losses of 0 and 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gfnet_dynn.exits import ExitArrays, softmax

RiskName = Literal["accuracy-drop", "harmful-exits", "error", "disagreement", "brier"]


@dataclass(frozen=True, slots=True)
class Risk:
    """A loss of each image at each exit, whose mean is the risk."""

    losses: npt.NDArray[np.float64]  # [N, G + 1]
    low: float  # least possible loss
    high: float  # largest possible loss


def risk_of(arrays: ExitArrays, name: RiskName, reference: ExitArrays | None = None) -> Risk:
    """The losses of one risk, in any precision, against the final exit of a reference: fp32 over the same N images.

    `accuracy-drop`: 1 where the reference is correct and the exit wrong, −1 where it is the other way round; the mean
    is the drop of accuracy. `harmful-exits`: 1 in the first case alone, so it is never below the accuracy drop.
    `error`: 1 where the exit is wrong. `disagreement`: 1 where its class is not the reference's. `brier`: squared
    distance of its probabilities from the label, 0 to 2. By default the arrays themselves are the reference.
    """
    full, correct = arrays if reference is None else reference, arrays.correct
    full_correct = full.correct[:, -1:]
    if name == "accuracy-drop":
        return Risk(full_correct.astype(np.float64) - correct, -1, 1)
    if name == "harmful-exits":
        return Risk((full_correct & ~correct).astype(np.float64), 0, 1)
    if name == "error":
        return Risk((~correct).astype(np.float64), 0, 1)
    if name == "disagreement":
        return Risk((arrays.predictions != full.predictions[:, -1:]).astype(np.float64), 0, 1)
    probabilities = softmax(arrays.logits)
    of_label = np.take_along_axis(probabilities, arrays.labels[:, None, None], axis=2)[:, :, 0]
    return Risk((probabilities**2).sum(axis=2) - 2 * of_label + 1, 0, 2)


Losses = npt.NDArray[np.floating]
"""[N, T]: losses of N images at each of T settings, from 0 to 1."""

PValues = npt.NDArray[np.float64]
"""[T]."""

_ORDER_SEED = 0
_LARGEST_BET = 0.9  # of the largest bet that no single loss can turn into bankruptcy


def exact_p(losses: Losses, limit: float) -> PValues:
    """The binomial tail, the smallest valid p-value for losses of 0 and 1: [N, T] and a limit in (0, 1) → [T]."""
    return np.asarray(binomial_tail(len(losses), limit)[np.rint(losses.sum(axis=0)).astype(np.intp)])


def hoeffding_bentkus_p(losses: Losses, limit: float) -> PValues:
    """The smaller of two bounds on the tail of a mean: losses [N, T] from 0 to 1 and a limit in (0, 1) → [T]."""
    count, mean = len(losses), losses.mean(axis=0, dtype=np.float64)
    below = np.minimum(mean, limit)
    hoeffding = np.exp(-count * _divergence(below, limit))
    sums = np.ceil(count * mean - 1e-9).astype(np.intp).clip(0, count)
    bentkus = math.e * binomial_tail(count, limit)[sums]
    return np.asarray(np.minimum(1.0, np.minimum(hoeffding, bentkus)))


def betting_p(losses: Losses, limit: float, alpha: float) -> PValues:
    """1 / the largest capital of a gambler who bets that the mean is below the limit; small where losses vary little.

    Losses are [N, T] from 0 to 1, the limit is in (0, 1). They are taken in an order drawn with a fixed seed, as files
    come sorted by class and bets depend on the past. The bets are tuned for significance level `alpha`; the p-value is
    valid at every level.
    """
    count = len(losses)
    ordered = losses[np.random.default_rng(_ORDER_SEED).permutation(count)].astype(np.float64)
    seen = np.arange(1, count + 1)[:, None]
    means = (0.5 + ordered.cumsum(axis=0)) / (seen + 1)
    variances = (0.25 + ((ordered - means) ** 2).cumsum(axis=0)) / (seen + 1)
    before = np.concatenate((np.full((1, losses.shape[1]), 0.25), variances[:-1]))  # a bet may use the past only
    bets = np.minimum(_LARGEST_BET / (1 - limit), np.sqrt(2 * math.log(1 / alpha) / (count * before)))
    capital = np.log1p(-bets * (ordered - limit)).cumsum(axis=0).max(axis=0, initial=0.0)
    return np.asarray(np.exp(-capital))


def binomial_tail(count: int, probability: float) -> PValues:
    """P(X ≤ k) for X ~ Binomial(count, probability) and k = 0 … count, [count + 1]."""
    successes = np.arange(count + 1)
    factorials = np.concatenate(([0.0], np.log(np.arange(1, count + 1)).cumsum()))
    logs = factorials[-1] - factorials - factorials[::-1]
    logs += successes * math.log(probability) + (count - successes) * math.log1p(-probability)
    return np.asarray(np.minimum(1.0, np.exp(logs).cumsum()))


def _divergence(mean: npt.NDArray[np.float64], limit: float) -> npt.NDArray[np.float64]:
    """Kullback–Leibler divergence of two Bernoulli distributions."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ones = np.where(mean > 0, mean * np.log(mean / limit), 0.0)
        zeros = np.where(mean < 1, (1 - mean) * np.log((1 - mean) / (1 - limit)), 0.0)
    return np.asarray(ones + zeros)
