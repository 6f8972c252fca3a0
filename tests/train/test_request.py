"""Settings, device and precision: what is refused and how it says so."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gfnet_dynn.errors import OptionError, TrainingError
from gfnet_dynn.train.engine import device
from gfnet_dynn.train.engine.device import choose_device, choose_precision, make_fabric
from gfnet_dynn.train.request import DistillationSettings, TrainSettings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_epoch": 0}, "--num-epoch must be above 0, not 0"),
        ({"batch": -1}, "--batch must be above 0"),
        ({"ce_ic_tradeoff": -0.5}, "--ce-ic-tradeoff must not be negative"),
        ({"drop_path": 1.0}, "--drop-path must lie from 0 to below 1"),
        ({"optimizer": "adam"}, "--optimizer must be one of adamw, sgd, not 'adam'"),
        ({"augmentation": "mixup"}, "--augmentation must be one of none, overhead, randaugment"),
        ({"lr": math.nan}, "--lr must be a finite number, not nan"),
        ({"trunk_lr": math.inf}, "--trunk-lr must be a finite number, not inf"),
        ({"freeze_backbone": True, "joint_lr": 0.1}, "--joint-lr has no effect with --freeze-backbone and --refit"),
        ({"freeze_backbone": True, "exit_floor": 0.0}, "--exit-floor has no effect with --freeze-backbone"),
    ],
)
def test_settings_out_of_range_name_their_option(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TrainSettings(**changes)


def test_choices_about_steps_have_their_effect_where_steps_are_taken() -> None:
    assert not TrainSettings(freeze_backbone=True, refit=False, joint_lr=0.1, exit_floor=0.0).gates_alone
    assert TrainSettings(freeze_backbone=True).gates_alone


@pytest.mark.parametrize("name", ["teacher_lr", "temperature", "distillation_weight", "frequency_weight"])
def test_numbers_that_compare_with_nothing_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"--{name.replace('_', '-')} must be a finite number, not nan"):
        DistillationSettings(teacher="gfnet-xs", **{name: math.nan})  # type: ignore[arg-type] # by name


def test_the_published_defaults() -> None:
    settings = TrainSettings()
    assert (settings.batch, settings.num_epoch, settings.ce_ic_tradeoff) == (64, 100, 0.75)


def test_auto_takes_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(TrainingError, match="no device 'cuda' on this machine; available: cpu"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"


def test_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for amx, precision in ((False, "32-true"), (True, "bf16-mixed")):
        monkeypatch.setattr(device, "has_amx", lambda amx=amx: amx)
        assert choose_precision("auto", "cpu") == precision
    assert choose_precision("auto", "mps") == "32-true"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_precision("auto", "cuda") == "bf16-mixed"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert choose_precision("auto", "cuda") == "16-mixed"
    assert choose_precision("bf16-mixed", "cpu") == "bf16-mixed"
    with pytest.raises(TrainingError, match="needs a GPU"):
        choose_precision("16-mixed", "cpu")
    with pytest.raises(OptionError, match=r"--precision must be one of auto, .*, not '8-bit'"):
        TrainSettings(precision="8-bit")  # type: ignore[arg-type] # which is refused


def test_bfloat16_autocast_reaches_the_linear_maps() -> None:
    fabric = make_fabric("cpu", "bf16-mixed")
    with fabric.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.bfloat16
