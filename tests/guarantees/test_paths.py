from __future__ import annotations

import numpy as np

from gfnet_dynn.exits import NEVER, ExitArrays, first_exit
from gfnet_dynn.guarantees.paths import (
    STEPS,
    Path,
    by_deadline,
    exits_along,
    greedy_path,
    means_at,
    same_for_all,
    values_at,
)
from gfnet_dynn.guarantees.risk import risk_of
from tests.exits.populations import make_population

COSTS = (0.2, 0.4, 0.7, 1.0)


def random_arrays() -> ExitArrays:
    generator = np.random.default_rng(0)
    return ExitArrays(
        generator.normal(size=(200, 3, 4)).astype(np.float32),
        generator.random((200, 2)).astype(np.float32),
        generator.integers(0, 4, 200),
    )


def test_the_mean_drop_is_the_difference_of_accuracies() -> None:
    arrays = random_arrays()
    exits = exits_along(arrays.gates, same_for_all(2, [NEVER, 0.7, 0.3, 0.0]))
    accuracy = np.take_along_axis(arrays.correct, exits.astype(np.intp), axis=1).mean(axis=0)
    drop = values_at(risk_of(arrays, "accuracy-drop").losses, exits).mean(axis=0)
    assert np.allclose(drop, means_at(risk_of(arrays, "accuracy-drop").losses, exits), atol=1e-6)
    assert np.allclose(drop, accuracy[0] - accuracy)
    assert np.ptp(drop) > 0


def test_exits_along_a_path_are_those_of_the_rule() -> None:
    generator = np.random.default_rng(1)
    gates = generator.random((300, 3)).astype(np.float32)
    gates[0, 0] = np.nan
    gates[1] = 0.5
    path = np.vstack((same_for_all(3, [NEVER, 1.0, 0.5, 0.0]), generator.random((5, 3)), [[NEVER, 0.5, 0.0]]))
    together = exits_along(gates, path)
    for column, thresholds in enumerate(path):
        assert together[:, column].tolist() == first_exit(gates, thresholds.tolist()).tolist()


def test_the_common_path_leads_from_the_full_network_to_the_first_exit() -> None:
    assert STEPS[0] == NEVER
    assert list(STEPS) == sorted(STEPS, reverse=True)
    assert STEPS[-1] == 0
    assert same_for_all(2).shape == (len(STEPS), 2)


def test_a_deadline_lets_no_image_pass_its_exit() -> None:
    gates = random_arrays().gates
    ended = by_deadline(same_for_all(2), 1)
    assert exits_along(gates, ended).max() == 1
    untouched = same_for_all(2)
    assert (exits_along(gates, ended) == np.minimum(exits_along(gates, untouched), 1)).all()


def test_a_greedy_path_falls_exit_by_exit_and_saves_more_than_one_threshold_for_all() -> None:
    population = make_population()
    arrays = population.draw(2000, 0)
    # One exit's gate lies: a threshold for all must heed it, one for each exit need not.
    deceived = ExitArrays(arrays.logits, arrays.gates.copy(), arrays.labels)
    deceived.gates[:, 0] = 1 - deceived.gates[:, 0]
    risk = risk_of(deceived, "harmful-exits")
    path = greedy_path(deceived, risk, COSTS)
    assert (path[0] == NEVER).all()
    assert (path[-1] == 0).all()
    assert (np.diff(np.minimum(path, 2), axis=0) <= 0).all()
    assert (np.count_nonzero(np.diff(np.minimum(path, 2), axis=0), axis=1) == 1).all()

    def cheapest(way: Path) -> float:
        exits = exits_along(deceived.gates, way)
        kept = values_at(risk.losses, exits).mean(axis=0) <= 0.02
        return float(np.array(COSTS)[exits].mean(axis=0)[kept].min())

    assert cheapest(path) < cheapest(same_for_all(3)) - 0.05


def test_a_few_sure_errors_do_not_hide_what_an_exit_saves_below_them() -> None:
    """The first exit is surest of ten images that it has wrong, and right on all others; the second errs at random."""
    images, generator = 400, np.random.default_rng(0)
    first_right, second_right = np.arange(images) >= 10, generator.random(images) >= 0.2
    right = np.stack((first_right, second_right, np.ones(images, bool)), axis=1)
    labels = np.zeros(images, np.int64)
    logits = np.where(right[..., None], np.array([1.0, 0.0]), np.array([0.0, 1.0])).astype(np.float32)
    gates = np.stack((np.linspace(1, 0.01, images), generator.random(images)), axis=1).astype(np.float32)
    arrays = ExitArrays(logits, gates, labels)
    risk, costs = risk_of(arrays, "harmful-exits"), (1.0, 2.0, 10.0)
    exits = exits_along(gates, greedy_path(arrays, risk, costs))
    losses, means = values_at(risk.losses, exits).mean(axis=0), np.array(costs)[exits].mean(axis=0)
    tested = np.logical_and.accumulate(losses <= 0.03)  # a test along the path ends where it fails first
    assert means[tested].min() < 1.5
