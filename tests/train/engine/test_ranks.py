"""What processes that train together do together: two or three forked ones against one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gfnet_dynn.data.rows import rows_of
from gfnet_dynn.data.scenes import SceneData, require_same_images
from gfnet_dynn.data.split import UNLABELLED, Files
from gfnet_dynn.errors import DataError, ReportedElsewhereError, StorageError, TrainingError
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.spec.backbone import EfficientNetLiteSpec
from gfnet_dynn.spec.network import InputSpec, NetSpec
from gfnet_dynn.system.torchrun import Place, is_first_process, torchrun_place
from gfnet_dynn.train.engine.loop import seed_step
from gfnet_dynn.train.engine.ranks import Ranks
from gfnet_dynn.train.engine.shared_batch import place_rows, share_statistics
from gfnet_dynn.train.stages.backbone import BackboneStage
from gfnet_dynn.train.stages.joint import JointStage
from gfnet_dynn.train.stages.judging import Judge
from gfnet_dynn.train.stages.stage import Stage
from gfnet_dynn.train.stages.warmup import WarmupStage
from tests.train.conftest import TINY, MakeContext, tiny_data
from tests.train.test_distillation import Oracle, taught
from tests.train.together import run_together


def test_one_process_waits_for_nobody() -> None:
    ranks, loss = Ranks(), torch.ones(())
    assert (ranks.rank, ranks.size, ranks.is_first) == (0, 1, True)
    assert ranks.by_first(lambda: 3) == ranks.by_each(lambda: 3) == 3
    assert ranks.gather(3) == [3]
    assert ranks.sum_up({"loss": 2.0}, 1.0, True, False) == ({"loss": 2.0}, (True, False))
    assert ranks.add_gradients([], loss) is loss


def test_the_place_is_read_from_the_environment_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torchrun_place() is None
    assert is_first_process()
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    place = torchrun_place()
    assert place == Place(3, 1, 4, 2)
    assert place.machines == 2
    assert not is_first_process()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert torchrun_place() is None


def exchange() -> dict[str, object]:
    ranks = Ranks()
    first, second = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2))
    unused = nn.Parameter(torch.zeros(2))
    first.grad = torch.full((2, 3), 1.0 + ranks.rank)
    if ranks.rank == 1:
        second.grad = torch.ones(2)
    loss = ranks.add_gradients([first, second, unused], torch.tensor(0.5 * ranks.rank))
    module = nn.Linear(2, 2)
    ranks.share_weights(module)
    return {
        "by_first": ranks.by_first(os.getpid),
        "gathered": ranks.gather(ranks.rank),
        "mean": ranks.mean(torch.tensor([1.0 + ranks.rank]), 0.25 + 0.5 * ranks.rank).item(),
        "summed": ranks.sum_up({"loss": 1.0 + ranks.rank}, 0.5, ranks.rank == 1, False),
        "loss": loss.item(),
        "gradients": [None if each.grad is None else each.grad.flatten().tolist() for each in (first, second, unused)],
        "weights": module.weight.detach().flatten().tolist(),
    }


def test_all_get_the_same() -> None:
    one, other = run_together(exchange)
    assert one == other
    assert one["gathered"] == [0, 1]
    assert one["mean"] == 0.25 * 1 + 0.75 * 2
    assert one["summed"] == ({"loss": 1.5}, (True, False))
    assert one["loss"] == 0.5
    assert one["gradients"] == [[3.0] * 6, [1.0] * 2, None]


def fail_in(rank: int, way: str) -> Callable[[], str]:
    def work() -> None:
        if Ranks().rank == rank:
            raise DataError(f"of {rank}")

    def attempt() -> str:
        try:
            getattr(Ranks(), way)(work)
        except DataError as error:
            return f"own {error}"
        except ReportedElsewhereError as error:
            return f"other {error}"
        return "well"

    return attempt


def test_an_error_of_one_is_raised_in_all() -> None:
    assert run_together(fail_in(0, "by_first")) == ["own of 0", "other of 0"]
    assert run_together(fail_in(1, "by_each")) == ["other of 1", "own of 1"]


def leave_early() -> str:
    if Ranks().rank == 1:
        raise StorageError("full")
    try:
        Ranks().sum_up({}, 1.0, False)
    except ReportedElsewhereError as error:
        return str(error)
    return "well"


def test_a_process_that_ends_is_noticed_where_it_is_waited_for() -> None:
    waiting, left = run_together(leave_early)
    assert "another process of this training has ended" in waiting
    assert isinstance(left, StorageError)


@dataclass(frozen=True)
class Case:
    """One optimiser step: of which stage, which number, and with a teacher and images without labels or not."""

    kind: type[Stage]
    step: int = 0
    with_teacher: bool = False


STEPS = {
    "backbone": Case(BackboneStage),
    "backbone, teacher": Case(BackboneStage, with_teacher=True),
    "warm-up": Case(WarmupStage),
    "joint, gates": Case(JointStage),
    "joint, network": Case(JointStage, 1),
}


def gradients(make_context: MakeContext, data: SceneData, case: Case, images: int) -> dict[str, Tensor]:
    """After one step of a stage on a batch that the processes share, of all parameters that have one."""
    context = make_context(batch=images, drop_path=0.5, bilevel_batches=1)
    unlabelled: Files = ()
    if case.with_teacher:
        torch.manual_seed(1)
        context = taught(context, Oracle(), frequency_weight=1.0)
        unlabelled = tuple((path, UNLABELLED) for path, _ in data.split.parts["val"])
    stage, ranks = case.kind(context, 4), context.ranks
    loader = data.training_loader("randaugment", unlabelled)
    order = range(loader.num_labelled - images // 2 - 1, len(loader))[:images]
    seed_step(0, stage.name, 0, case.step)
    batch = next(loader.batches(order, images, context.fabric.device, 0, (ranks.rank, ranks.size)))
    place_rows(context.net, batch.rows)
    losses, _ = ranks.sum_up(stage.step(batch, case.step), batch.rows.share)
    trained = nn.ModuleDict({"net": context.net, **stage.extra})
    found = {name: each.grad for name, each in trained.named_parameters() if each.grad is not None}
    return {**found, **{name: torch.tensor(value) for name, value in losses.items()}}


@pytest.mark.parametrize(("processes", "images"), [(2, 7), (3, 2)], ids=["uneven", "one without images"])
def test_gradients_and_losses_are_those_of_one_process(
    make_context: MakeContext, data: SceneData, processes: int, images: int
) -> None:
    def all_steps() -> dict[str, dict[str, Tensor]]:
        return {name: gradients(make_context, data, case, images) for name, case in STEPS.items()}

    wanted = all_steps()
    assert "distiller.projection.weight" in wanted["backbone, teacher"]
    for found in run_together(all_steps, processes):
        assert not isinstance(found, BaseException), found
        for case, own in wanted.items():
            assert found[case].keys() == own.keys()
            for name, gradient in own.items():
                torch.testing.assert_close(found[case][name], gradient, rtol=1e-4, atol=1e-6, msg=f"{case}: {name}")


def test_a_loss_that_is_not_finite_in_one_process_ends_all(make_context: MakeContext, data: SceneData) -> None:
    def step() -> None:
        context = make_context()
        stage, part = BackboneStage(context, 1), (context.ranks.rank, context.ranks.size)
        batch = next(data.training_loader("none").batches(range(8), 8, context.fabric.device, 0, part))
        stage.step(batch._replace(images=batch.images * (float("nan") if part[0] else 1)), 0)

    for error in run_together(step):
        assert isinstance(error, TrainingError)
        assert "the loss of the backbone stage is nan in epoch 1 at batch 1" in str(error)


def normed(images: Tensor, rows: slice, *, shared: bool) -> dict[str, Tensor]:
    """Outputs, gradients and statistics of a batch norm after one step on some rows."""
    net = nn.Sequential(nn.BatchNorm2d(3)).train()
    if shared:
        share_statistics(net)
        place_rows(net, Ranks().rows(len(images)))
    own = images[rows].clone().requires_grad_()
    outputs = net(own)
    (outputs**3).sum().backward()
    assert own.grad is not None
    buffers = {name: tensor.clone() for name, tensor in net.named_buffers()}
    return {"outputs": outputs.detach(), "gradient": own.grad, **buffers}


def test_batch_norms_take_the_statistics_of_the_whole_batch() -> None:
    images = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    wanted = normed(images, slice(None), shared=False)
    found = run_together(lambda: normed(images, Ranks().rows(5).span, shared=True))
    for rank, own in enumerate(found):
        rows = rows_of(rank, 2, 5).span
        for name, tensor in own.items():
            torch.testing.assert_close(tensor, wanted[name][rows] if name in ("outputs", "gradient") else wanted[name])


def test_shared_norms_keep_the_network(data: SceneData) -> None:
    net = build_net(NetSpec(EfficientNetLiteSpec(), (), InputSpec(32), TINY.classes))
    before = net.state_dict()
    share_statistics(net)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    net.backbone.keep_statistics()
    assert not any(each.training for each in net.train().modules() if isinstance(each, nn.BatchNorm2d))


def test_outputs_and_features_come_in_the_order_of_the_images(make_context: MakeContext, data: SceneData) -> None:
    def judge() -> tuple[object, ...]:
        context = make_context()
        judge = Judge(context.net.eval(), context.fabric, context.ranks, 3)
        loader = data.evaluation_loader("selection")
        arrays, features = judge.outputs(loader), judge.features(loader)
        return arrays.logits, arrays.gates, arrays.labels, *(each.numpy() for each in features.pooled)

    wanted = judge()
    for found in (*run_together(judge), *run_together(judge, 3)):
        for own, each in zip(wanted, found, strict=True):
            torch.testing.assert_close(torch.as_tensor(each), torch.as_tensor(own))


def test_other_images_on_another_machine_are_named(own_scenes: Path) -> None:
    data = tiny_data(own_scenes, own_scenes.parent / "splits")
    require_same_images(data)
    next((own_scenes / "train").rglob("*.png")).unlink()
    with pytest.raises(DataError, match=r"own_scenes on .* are not those that the first process has split"):
        require_same_images(data)


def test_shared_norms_keep_the_type_of_what_they_replace() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3)).double()
    share_statistics(net)
    assert {each.dtype for each in net.state_dict().values()} == {torch.float64, torch.int64}
