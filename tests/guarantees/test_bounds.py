from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfnet_dynn.guarantees.risk import betting_p, binomial_tail, exact_p, hoeffding_bentkus_p


@pytest.mark.parametrize(("count", "probability"), [(1, 0.3), (10, 0.5), (200, 0.01), (5000, 0.05)])
def test_the_binomial_tail_is_scipys(count: int, probability: float) -> None:
    stats = pytest.importorskip("scipy.stats", reason="a development dependency")
    expected = stats.binom.cdf(np.arange(count + 1), count, probability)
    assert np.allclose(binomial_tail(count, probability), expected, rtol=1e-8, atol=1e-12)


def test_hoeffding_bentkus_is_mapies() -> None:
    methods = pytest.importorskip("mapie.risk_control.methods", reason="a development dependency")
    generator = np.random.default_rng(0)
    for count, epsilon in ((50, 0.1), (400, 0.02), (3000, 0.05)):
        losses = (generator.random((count, 6)) < epsilon * np.linspace(0.1, 1.5, 6)) * 0.7
        expected = methods.compute_hoeffding_bentkus_p_value(losses.mean(axis=0), count, epsilon)[:, 0]
        assert np.allclose(hoeffding_bentkus_p(losses, epsilon), np.minimum(expected, 1), rtol=1e-6)


@given(st.integers(1, 400), st.floats(0.005, 0.5))
def test_without_any_loss_the_exact_p_value_is_that_of_a_coin(count: int, epsilon: float) -> None:
    assert exact_p(np.zeros((count, 1)), epsilon)[0] == pytest.approx((1 - epsilon) ** count)


@pytest.mark.parametrize("bound", ["exact", "hoeffding-bentkus", "betting"])
def test_errs_no_more_often_than_it_says(bound: str) -> None:
    """At the limit itself a p-value below δ is an error: it may happen in a share δ of all draws."""
    generator, epsilon, delta, draws = np.random.default_rng(1), 0.05, 0.1, 2000
    losses = (generator.random((300, draws)) < epsilon).astype(float)
    p = {
        "exact": lambda: exact_p(losses, epsilon),
        "hoeffding-bentkus": lambda: hoeffding_bentkus_p(losses, epsilon),
        "betting": lambda: betting_p(losses, epsilon, delta),
    }[bound]()
    assert (p <= delta).mean() <= delta + 3 * np.sqrt(delta * (1 - delta) / draws)
    assert np.all((p >= 0) & (p <= 1))


def test_betting_is_sharp_where_losses_vary_little() -> None:
    """Signed losses scaled to 0 … 1 lie near one half: what helps there is their small variance."""
    generator = np.random.default_rng(2)
    signed = generator.choice([-1.0, 0.0, 1.0], (2000, 1), p=[0.004, 0.99, 0.006])
    scaled, limit = (signed + 1) / 2, (1 + 0.02) / 2
    assert betting_p(scaled, limit, 0.05)[0] < 0.001
    assert hoeffding_bentkus_p(scaled, limit)[0] > 0.2


def test_the_order_of_the_files_does_not_matter() -> None:
    """All losses in one class, last in the list: a gambler who read on in order would have won by then."""
    losses = np.zeros((400, 1))
    losses[-40:] = 1
    assert betting_p(losses, 0.05, 0.05)[0] > 0.5
