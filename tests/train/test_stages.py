"""The stages: what each trains, what it leaves alone, and that losses fall."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from gfnet_dynn.data.scenes import Batch, SceneData
from gfnet_dynn.errors import TrainingError
from gfnet_dynn.exits import ExitArrays
from gfnet_dynn.train.engine.loop import epoch_order, seed_step
from gfnet_dynn.train.engine.state import Position, load_state, save_state
from gfnet_dynn.train.stages.backbone import BackboneStage
from gfnet_dynn.train.stages.joint import JointStage, plan_phases
from gfnet_dynn.train.stages.stage import Stage
from gfnet_dynn.train.stages.warmup import WarmupStage
from tests.train.conftest import MakeContext


def batches(data: SceneData, stage: Stage) -> Iterator[Batch]:
    """Training batches, epoch after epoch."""
    loader = data.training_loader("none")
    for epoch in range(10_000):
        order = epoch_order(0, stage.name, epoch, len(loader))
        yield from loader.batches(order, stage.context.settings.batch, torch.device("cpu"))


def run(data: SceneData, stage: Stage, steps: int) -> dict[str, list[float]]:
    losses: dict[str, list[float]] = {}
    for step, batch in enumerate(islice(batches(data, stage), steps)):
        seed_step(0, stage.name, 0, step)
        for name, value in stage.step(batch, step).items():
            losses.setdefault(name, []).append(value)
    return losses


def weights(stage: Stage) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in stage.context.net.named_parameters()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Parts of the network with a changed weight: backbone, head, intermediate_heads, gates."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def falls(losses: list[float]) -> bool:
    third = max(1, len(losses) // 3)
    return float(np.mean(losses[-third:])) < float(np.mean(losses[:third]))


def test_the_backbone_stage_trains_backbone_and_final_classifier(data: SceneData, make_context: MakeContext) -> None:
    stage = BackboneStage(make_context(num_epoch=8), 8)
    before = weights(stage)
    losses = run(data, stage, stage.steps)
    assert changed(before, weights(stage)) == {"backbone", "head"}
    assert falls(losses["loss/network"])


@pytest.mark.parametrize("kind", [BackboneStage, JointStage])
def test_frozen_stages_keep_weights_and_statistics(
    data: SceneData, make_context: MakeContext, kind: type[Stage]
) -> None:
    context = make_context(freeze_blocks=1, bilevel_batches=1)
    stage = kind(context, 2)
    before = {name: tensor.clone() for name, tensor in context.net.backbone.state_dict().items()}
    run(data, stage, 4)
    after = context.net.backbone.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    frozen = {name for name in before if name.startswith(("patch_embed.", "blocks.0."))}
    assert kept == frozen


def test_warmup_trains_the_early_heads_only(data: SceneData, make_context: MakeContext) -> None:
    stage = WarmupStage(make_context(), 6)
    before = weights(stage)
    losses = run(data, stage, stage.steps)
    assert changed(before, weights(stage)) == {"intermediate_heads"}
    assert falls(losses["loss/heads"])


def test_a_warm_head_without_gain_goes_back_to_its_best_and_is_frozen(
    data: SceneData, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = WarmupStage(make_context(patience=2), 20)
    # Exit 1 is best in epoch 1 and never again; exit 2 gains every epoch.
    planned = iter([(0.5, 0.1), (0.8, 0.2), (0.8, 0.3), (0.1, 0.4), (0.1, 0.5)])
    monkeypatch.setattr(
        "gfnet_dynn.train.stages.warmup.exit_accuracies",
        lambda arrays: dict(zip(("accuracy/exit1", "accuracy/exit2"), next(planned), strict=True)),
    )
    seen = []
    for epoch in range(5):
        run(data, stage, 3)
        seen.append(weights(stage))
        metrics = stage.end_epoch(epoch)
    best = seen[1]["intermediate_heads.0.weight"]
    assert torch.equal(stage.context.net.state_dict()["intermediate_heads.0.weight"], best)
    assert not torch.equal(seen[3]["intermediate_heads.0.weight"], best)
    assert torch.equal(seen[4]["intermediate_heads.0.weight"], best), "a frozen head moved"
    assert not torch.equal(seen[4]["intermediate_heads.1.weight"], seen[3]["intermediate_heads.1.weight"])
    assert (metrics["frozen"], stage.finished) == (1, False)


def test_warmup_ends_when_all_are_frozen(data: SceneData, make_context: MakeContext) -> None:
    stage = WarmupStage(make_context(patience=1, lr=1e-9), 50)
    ends = []
    for epoch in range(2):
        stage.end_epoch(epoch)
        ends.append(stage.finished)
    assert ends == [False, True]


def test_the_joint_stage_trains_everything_though_a_phase_is_longer_than_an_epoch(
    data: SceneData, make_context: MakeContext
) -> None:
    context = make_context(num_epoch=8, bilevel_batches=7)
    assert context.steps_per_epoch < 7
    stage = JointStage(context, 8)
    before = weights(stage)
    losses = run(data, stage, stage.steps)
    after = weights(stage)
    assert changed(before, after) == {"backbone", "head", "intermediate_heads", "gates"}
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert not unchanged
    assert falls(losses["loss/network"])
    assert falls(losses["loss/gates"])


def test_without_a_floor_gates_that_sum_to_one_starve_the_final_classifier(
    data: SceneData, make_context: MakeContext
) -> None:
    for floor, trained in ((0.0, False), (0.1, True)):
        stage = JointStage(make_context(exit_floor=floor, bilevel_batches=1), 8)
        for gate in stage.context.net.gates.parameters():
            torch.nn.init.constant_(gate, 3.0)
        before = stage.context.net.head.weight.detach().clone()
        stage.step(next(batches(data, stage)), 1)
        # Decay alone moves the matrix by a factor; without it the rows stay parallel to what they were.
        ratio = stage.context.net.head.weight.detach() / before
        assert (ratio.std().item() > 1e-4) is trained


def test_phases_are_counted_over_the_whole_run(make_context: MakeContext) -> None:
    stage = JointStage(make_context(bilevel_batches=7), 8)
    turns = [stage.trains_gates(step) for step in range(21)]
    assert turns == [True] * 7 + [False] * 7 + [True] * 7


def test_a_gate_step_moves_gates_only_and_a_network_step_all_else(data: SceneData, make_context: MakeContext) -> None:
    stage = JointStage(make_context(bilevel_batches=1), 8)
    feed = batches(data, stage)
    start = weights(stage)
    stage.step(next(feed), 0)
    middle = weights(stage)
    stage.step(next(feed), 1)
    assert changed(start, middle) == {"gates"}
    assert changed(middle, weights(stage)) == {"backbone", "head", "intermediate_heads"}


def test_a_frozen_backbone_stays(data: SceneData, make_context: MakeContext) -> None:
    stage = JointStage(make_context(freeze_backbone=True, refit=False, bilevel_batches=1), 8)
    before = weights(stage)
    run(data, stage, 6)
    assert changed(before, weights(stage)) == {"intermediate_heads", "gates"}


def answers(right: int, exits: int) -> ExitArrays:
    """A hundred images, of which every way out has so many right."""
    logits = np.zeros((100, exits, 2), np.float32)
    logits[right:, :, 1] = 1
    return ExitArrays(logits, np.ones((100, exits - 1), np.float32), np.zeros(100, np.int64))


@pytest.mark.parametrize(
    ("kind", "planned", "kept"),
    [
        (JointStage, [99, 70, 80, 60], 2),  # the first half does not count
        (JointStage, [70, 80, 85, 82], 3),  # within a standard error of 85: 3.6
        (BackboneStage, [70, 90, 80, 60], 1),
        (BackboneStage, [70, 90, 88, 86], 2),  # within 3.2 of 90, but not the last
        (BackboneStage, [50, 99, 100, 99], 2),  # of a hundred that are right none may be lost
        (BackboneStage, [90, 88, 86, 84], 1),  # the best decides, not the one before
    ],
)
def test_a_stage_ends_with_the_last_epoch_that_is_not_certainly_worse_than_the_best(
    data: SceneData, make_context: MakeContext, kind: type[Stage], planned: list[int], kept: int
) -> None:
    stage = kind(make_context(bilevel_batches=1), len(planned))
    exits = len(stage.context.net.heads)
    seen = []
    for epoch, right in enumerate(planned):
        run(data, stage, 3)
        seen.append(weights(stage))
        stage.context.selection = partial(answers, right, exits)
        stage.end_epoch(epoch)
    stage.finish()
    assert all(torch.equal(tensor, seen[kept][name]) for name, tensor in weights(stage).items())


@pytest.mark.parametrize(("kind", "planned"), [(BackboneStage, [70, 99, 60]), (JointStage, [70, 99, 60, 50])])
def test_what_a_stage_keeps_outlives_a_break(
    data: SceneData, make_context: MakeContext, tmp_path: Path, kind: type[Stage], planned: list[int]
) -> None:
    stage = kind(make_context(bilevel_batches=1), len(planned))
    exits = len(stage.context.net.heads)
    for epoch, right in enumerate(planned[:-1]):
        run(data, stage, 3)
        stage.context.selection = partial(answers, right, exits)
        stage.end_epoch(epoch)
        if right == max(planned):
            kept = weights(stage)
    save_state(tmp_path / "state", stage, Position(len(planned) - 1))
    again = kind(make_context(bilevel_batches=1, seed=1), len(planned))
    load_state(tmp_path / "state", again)
    again.context.selection = partial(answers, planned[-1], exits)
    again.end_epoch(len(planned) - 1)
    again.finish()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in weights(again).items())


def test_a_head_that_was_frozen_stays_frozen_after_a_break(
    data: SceneData, make_context: MakeContext, tmp_path: Path
) -> None:
    def better_at_the_second(right: int) -> ExitArrays:
        logits = answers(50, 3).logits.copy()
        logits[:, 1] = answers(right, 3).logits[:, 1]
        return ExitArrays(logits, np.ones((100, 2), np.float32), np.zeros(100, np.int64))

    stage = WarmupStage(make_context(patience=1), 5)
    for epoch in range(2):
        run(data, stage, 3)
        stage.context.selection = partial(better_at_the_second, 60 + epoch)
        stage.end_epoch(epoch)
    save_state(tmp_path / "state", stage, Position(2))
    again = WarmupStage(make_context(patience=1, seed=1), 5)
    load_state(tmp_path / "state", again)
    before = weights(again)
    run(data, again, 3)
    moved = {name for name, tensor in weights(again).items() if not torch.equal(tensor, before[name])}
    assert {name.rsplit(".", 1)[0] for name in moved} == {"intermediate_heads.1"}


@pytest.mark.parametrize(
    ("asked", "steps", "phases"),
    [
        (None, 10_200, (78, 326, 10_100)),
        (None, 400, (16, 80, 384)),
        (None, 84, (3, 17, 80)),
        (None, 4, (1, 1, 3)),
        (30, 90, (30, 30, 90)),
    ],
)
def test_phases(asked: int | None, steps: int, phases: tuple[int, int, int]) -> None:
    assert plan_phases(asked, 0.2, steps) == phases


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
def test_gates_have_the_first_word_the_last_and_their_share(make_context: MakeContext, share: float) -> None:
    stage = JointStage(make_context(gate_share=share), 8)
    for steps in (*range(2, 300), 420, 2_100, 10_000, 20_000):
        stage._phases = plan_phases(None, share, steps)
        turns = [stage.trains_gates(step) for step in range(steps)]
        assert turns[0], steps
        assert turns[-1], steps
        assert steps < 3 or not all(turns)
        if share * steps >= 25:  # else a phase of one step is more than its share
            assert sum(turns) == pytest.approx(share * steps, rel=0.25)


def test_a_loss_that_is_not_finite_stops_before_any_weight_is_spoiled(
    data: SceneData, make_context: MakeContext
) -> None:
    stage = BackboneStage(make_context(), 2)
    before = weights(stage)
    batch = next(batches(data, stage))
    with pytest.raises(TrainingError, match=r"loss of the backbone stage is nan in epoch 2 at batch 2.*--lr"):
        stage.step(Batch(batch.images * float("nan"), batch.labels), 5)
    assert changed(before, weights(stage)) == set()


def test_positive_weights_come_from_the_selection_split(make_context: MakeContext) -> None:
    context = make_context(ce_ic_tradeoff=0.0)
    logits = np.zeros((4, 3, 4), dtype=np.float32)
    logits[0, 0, 0] = 9  # sample 0: exit 1 is best; the others: the final classifier
    logits[1:, 2, 0] = 9
    context.selection = lambda: ExitArrays(logits, np.zeros((4, 2), np.float32), np.zeros(4, np.int64))
    stage = JointStage(context, 4)
    assert stage.memory()[0]["gate_loss/pos_weight"].tolist() == pytest.approx([3.0, 3.0])
