"""Small data sets and paths that several tests share."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.cli.app import wait_politely
from gfnet_dynn.spec.backbone import BACKBONES, GFNetSpec

wait_politely()  # as the commands do; before any test imports torch

# Where torch is not installed, as on a device, the tests of what needs it are not collected.
NEEDS_TORCH = re.compile(
    r"^(from|import) (torch|safetensors|kornia|lightning_fabric|torchmetrics|mapie|tests\.(train|model|export)\b"
    r"|gfnet_dynn\.(model|export\.(?!request)|train\.(engine|objectives|runs|stages)|data\.loading|evaluation\.plots"
    r"|workflows\.(training|exporting|torch_candidates|run_evaluation|subject)|reporting\.plot|calibration\.plots))",
    re.MULTILINE,
)
NEED_TRAINING = ("main_dynn", "recipes", "verbs", "train", "export", "evaluate", "benchmark", "documents", "report")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Whether a test module cannot run here."""
    if find_spec("torch") is not None or collection_path.suffix != ".py":
        return None
    if collection_path.stem.removeprefix("test_") in NEED_TRAINING:
        return True
    return True if NEEDS_TORCH.search(collection_path.read_text(encoding="utf-8")) else None


SHARED = Path(__file__).resolve().parents[2] / "shared"

CLASSES = ("desert", "forest", "harbour", "river")


def write_image(path: Path, class_index: int, number: int, side: int = 32) -> None:
    """Stripes whose direction and colour depend on the class, with noise: learned within a few epochs."""
    generator = np.random.default_rng([class_index, number])
    rows, columns = np.mgrid[:side, :side]
    wave = np.sin((rows if class_index % 2 else columns) * (0.4 + 0.2 * class_index) + generator.uniform(0, 6))
    colour = np.array([(60, 120, 180), (180, 90, 60), (90, 160, 90), (150, 150, 60)])[class_index % 4]
    pixels = colour + 40 * wave[:, :, None] + generator.normal(0, 25, (side, side, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(autouse=True)
def signals_heard() -> Iterator[None]:
    """Tests started in the background of a shell or under nohup ignore signals, and so would what they start."""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hang_up)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 4 classes, 20 train and 6 val images each, 32 px, never to be changed by a test."""
    root = tmp_path_factory.mktemp("scenes")
    make_scenes(root)
    return root


def make_scenes(root: Path, train: int = 20, val: int = 6) -> Path:
    for index, name in enumerate(CLASSES):
        for number in range(train):
            write_image(root / "train" / name / f"{number:03}.png", index, number)
        for number in range(val):
            write_image(root / "val" / name / f"{number:03}.png", index, 1000 + number)
    return root


@pytest.fixture
def own_scenes(tmp_path: Path) -> Path:
    """The same, to be changed at will."""
    return make_scenes(tmp_path / "own_scenes")


@pytest.fixture(scope="session")
def scenes_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TOML file that describes the small data set under the name `Stripes`."""
    path = tmp_path_factory.mktemp("config") / "sets.toml"
    path.write_text("[Stripes]\nnum_classes = 4\ndefault_input_size = 32\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def quick_refit() -> Iterator[None]:
    """Trainings of this module cut their closed-form fits short."""
    from tests.quick_work import quick_refits  # noqa: PLC0415 # needs torch

    with quick_refits():
        yield


@pytest.fixture(scope="module")
def tiny_model() -> Iterator[str]:
    """Name under which this process knows a network of 3 narrow blocks, which is exported quickly."""
    from tests.quick_work import quick_exports  # noqa: PLC0415 # needs torch

    with pytest.MonkeyPatch.context() as patch, quick_exports():
        patch.setitem(BACKBONES, "gfnet-16x3", GFNetSpec(width=16, depth=3, patch_size=8))
        yield "gfnet-16x3"


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Paths of material that is not part of the project; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"needs {name}, which is not distributed with the project")
        return path

    return find


@pytest.fixture
def model_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Hugging Face Hub of `tests.hub.stand_in`; its client has a cache of its own and no token."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the extra hub is not installed")
    from tests.hub.stand_in import serve  # noqa: PLC0415 # few tests need it

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # whose storage no stand-in can speak
    with serve() as running:
        template = f"{running.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield running
