from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gfnet_dynn.errors import EngineError, MissingExtraError
from gfnet_dynn.runtime import engine as engine_module
from gfnet_dynn.runtime import load
from gfnet_dynn.runtime.engine import ENGINES, Engine, EngineOptions, available_processors, default_threads, make_engine
from gfnet_dynn.runtime.segments import SegmentedNet
from tests import bundles
from tests.runtime.engines import ONE_THREAD


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return made(request.param)


def made(name: str) -> Engine:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return make_engine(name, ONE_THREAD)


def graph_of(
    node: onnx.NodeProto, kind: int = TensorProto.FLOAT, more_inputs: int = 0, *constants: onnx.TensorProto
) -> bytes:
    """A graph of one node from `a` [batch, 2] to `b`."""
    inputs = [helper.make_tensor_value_info(name, kind, ["batch", 2]) for name in "acd"[: 1 + more_inputs]]
    outputs = [helper.make_tensor_value_info("b", kind, ["x", "y"])]
    return bundles.finished(helper.make_graph([node], "one", inputs, outputs, constants))


def identity(kind: int = TensorProto.FLOAT) -> bytes:
    return graph_of(helper.make_node("Identity", ["a"], ["b"]), kind)


@pytest.mark.parametrize("name", ["onnxrunntime", "ONNXRuntime"])
def test_an_unknown_engine_is_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(EngineError) as caught:
        make_engine(name, ONE_THREAD)
    assert f"unknown engine '{name}': did you mean 'onnxruntime'?" in str(caught.value)


def test_an_engine_that_is_like_none_is_refused_with_all_of_them(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="unknown engine 'tvm': known: onnxruntime, openvino"):
        load(bundles.write_tiny(tmp_path / "tiny.gfd"), engine="tvm")


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(engine_module, "find_spec", find)


@pytest.mark.usefixtures("nothing_installed")
def test_an_engine_that_is_not_installed_names_its_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"the engine openvino needs .* pip install 'gfnet-dynn\[openvino\]'"):
        make_engine("openvino", ONE_THREAD)
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any("openvino" in each for each in project["optional-dependencies"]["openvino"])
    assert any("onnxruntime" in each for each in project["dependencies"])


@pytest.mark.usefixtures("nothing_installed")
def test_a_base_install_that_is_not_whole_says_so() -> None:
    with pytest.raises(EngineError, match="onnxruntime is not installed"):
        make_engine("onnxruntime", ONE_THREAD)


@pytest.mark.parametrize("threads", [0, -2])
def test_an_engine_needs_a_thread(threads: int) -> None:
    with pytest.raises(EngineError, match=f"at least one thread, not {threads}"):
        EngineOptions(threads)


def test_the_processors_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert available_processors() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert available_processors() == 1


def test_more_threads_than_processors_are_refused_before_any_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    EngineOptions(16)
    with pytest.raises(EngineError, match=r"9999 threads .* at most 16"):
        EngineOptions(9999)


@pytest.mark.parametrize(("processors", "threads"), [(1, 1), (3, 3), (4, 4), (64, 4)])
def test_by_default_at_most_four_of_these_compute(
    monkeypatch: pytest.MonkeyPatch, processors: int, threads: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)), raising=False)
    assert default_threads() == threads


def test_an_engine_says_its_name_and_version(engine: Engine) -> None:
    name, version = engine.name.split()
    assert name in ENGINES
    assert version[0].isdecimal()


def test_a_graph_tells_what_it_takes_and_gives(engine: Engine) -> None:
    first, last = engine.compile(bundles.segment(0)), engine.compile(bundles.segment(2))
    assert (first.input.dtype, first.input.shape) == (np.dtype(np.uint8), (None, 8, 8, 3))
    assert [(port.name, port.shape) for port in first.outputs] == [
        ("features", (None, 3)),
        ("logits", (None, 3)),
        ("gate", (None,)),
    ]
    assert {port.dtype for port in first.outputs} == {np.dtype(np.float32)}
    assert [port.name for port in last.outputs] == ["logits"]


def test_a_graph_computes_for_any_number_of_images(engine: Engine) -> None:
    graph = engine.compile(identity())
    for count in (3, 1, 4):
        rows = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
        np.testing.assert_array_equal(graph.run(rows)[0], rows)


def test_what_a_graph_gave_stays_as_it_was(engine: Engine) -> None:
    graph = engine.compile(identity())
    first = graph.run(np.ones((2, 2), np.float32))[0]
    graph.run(np.zeros((2, 2), np.float32))
    np.testing.assert_array_equal(first, np.ones((2, 2)))


@pytest.mark.parametrize(
    "broken",
    [
        lambda: b"",
        lambda: b"this is no graph",
        lambda: bundles.segment(0)[:300],
        lambda: graph_of(helper.make_node("Unheard", ["a"], ["b"])),
        lambda: graph_of(helper.make_node("Add", ["a", "c"], ["b"]), more_inputs=1),
        lambda: graph_of(helper.make_node("Identity", ["nowhere"], ["b"])),
    ],
    ids=["empty", "text", "half", "unknown operator", "two inputs", "dangling"],
)
def test_a_broken_graph_is_an_error_of_the_engine(engine: Engine, broken: Callable[[], bytes]) -> None:
    with pytest.raises(EngineError):
        engine.compile(broken())


def test_an_engine_prints_nothing_of_its_own(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    whole = bundles.segment(0)
    for at in range(0, len(whole), 29):
        try:
            graph = engine.compile(whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :])
            graph.run(bundles.images(2))
        except EngineError:
            pass
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_onnxruntime_refuses_numbers_that_no_stage_has(kind: int) -> None:
    with pytest.raises(EngineError, match=r"a is a tensor\(\w+\), which no segment has"):
        made("onnxruntime").compile(identity(kind))


def test_a_graph_that_fails_while_it_runs_is_an_error_of_the_engine() -> None:
    sides = numpy_helper.from_array(np.array([7, 7]), "sides")
    graph = made("onnxruntime").compile(graph_of(helper.make_node("Reshape", ["a", "sides"], ["b"]), 1, 0, sides))
    with pytest.raises(EngineError, match="onnxruntime cannot run this graph"):
        graph.run(np.zeros((3, 2), np.float32))


def test_an_array_that_a_graph_does_not_take_is_an_error_of_the_engine(engine: Engine) -> None:
    with pytest.raises(EngineError, match="cannot run this graph"):
        engine.compile(identity()).run(np.zeros((3, 5), np.float32))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_both_engines_give_the_same_answers(precision: str) -> None:
    images = bundles.images(40)
    nets = [SegmentedNet(bundles.manifest(), bundles.segments(precision), precision, made(name)) for name in ENGINES]
    (logits, gates, _), (other_logits, other_gates, _) = (net.all_exits(images) for net in nets)
    np.testing.assert_allclose(other_logits, logits, atol=1e-5)
    np.testing.assert_allclose(other_gates, gates, atol=1e-6)
    for policy in bundles.POLICIES:
        answers, others = (net.decide(images, policy) for net in nets)
        assert others.exits.tolist() == answers.exits.tolist()
        np.testing.assert_allclose(others.logits, answers.logits, atol=1e-5)


def test_openvino_classifies_a_bundle(tmp_path: Path) -> None:
    made("openvino")
    path, images = bundles.write_tiny(tmp_path / "tiny.gfd"), list(bundles.images(5))
    classifiers = [load(path, engine=name, precision="fp32", threads=1) for name in ENGINES]
    assert classifiers[1].net.engine_name.startswith("openvino ")
    first, second = ([(each.label, each.exit) for each in found.classify(images)] for found in classifiers)
    assert first == second
    assert classifiers[1].classify([]) == []
