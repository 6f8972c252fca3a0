from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.policy import PredictionSets, UnknownRule
from gfnet_dynn.errors import BundleError, DataError, EngineError, ImageError, ThresholdError
from gfnet_dynn.exits import NEVER, UNFITTED, Fitted, softmax
from gfnet_dynn.images.fit import load_input
from gfnet_dynn.runtime import Classifier, Prediction, load
from gfnet_dynn.runtime.prediction import make_prediction
from gfnet_dynn.runtime.segments import SegmentedNet
from gfnet_dynn.spec.network import InputSpec
from tests import bundles
from tests.runtime.engines import Watched


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundles.write_tiny(tmp_path / "tiny.gfd")


@pytest.fixture
def classifier(bundle: Path) -> Classifier:
    return load(bundle, precision="fp32", threads=1)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Nine images of the network's own size, without loss."""
    paths = [tmp_path / f"{index}.png" for index in range(9)]
    for path, pixels in zip(paths, bundles.images(9), strict=True):
        Image.fromarray(pixels).save(path)
    return paths


def expected(classifier: Classifier, images: bundles.Images, name: str = "gates") -> list[tuple[str, str]]:
    answers, described = classifier.net.decide(images, classifier.policy(name)), classifier.manifest
    labels = [described.classes[index] for index in answers.logits.argmax(axis=1)]
    return list(zip(labels, (described.exits[index].name for index in answers.exits), strict=True))


def said(predictions: Sequence[Prediction]) -> list[tuple[str, str]]:
    return [(each.label, each.exit) for each in predictions]


def test_files_and_arrays_of_the_same_pixels_get_the_same_answers(classifier: Classifier, pictures: list[Path]) -> None:
    images = bundles.images(9)
    by_file, by_array = classifier.classify(pictures), classifier.classify(list(images))
    assert said(by_file) == said(by_array) == expected(classifier, images)
    assert len({each.exit for each in by_file}) == 3
    assert [each.source for each in by_file] == pictures
    assert [each.source for each in by_array] == [None] * 9
    assert said(classifier.classify(map(str, pictures))) == said(by_file)


@pytest.mark.parametrize("batch", [1, 2, 9, 50])
def test_the_batch_changes_no_answer_and_no_order(classifier: Classifier, pictures: list[Path], batch: int) -> None:
    answers = classifier.classify(pictures, batch=batch)
    assert [each.source for each in answers] == pictures
    assert said(answers) == expected(classifier, bundles.images(9))


def test_images_go_through_the_network_in_batches() -> None:
    watched = Watched()
    classifier = Classifier(SegmentedNet(bundles.manifest(), bundles.segments(), "fp32", watched))
    classifier.classify(list(bundles.images(5)), batch=2)
    assert watched.seen[0] == [2, 2, 1]


def test_no_image_gets_no_answer(classifier: Classifier) -> None:
    assert classifier.classify([]) == []


def test_answers_come_one_by_one_while_images_are_still_to_come(classifier: Classifier) -> None:
    given: list[int] = []

    def camera() -> Any:
        for index, image in enumerate(bundles.images(3)):
            given.append(index)
            yield image

    answers = classifier.classify_each(camera())
    assert next(answers).label in bundles.CLASSES
    assert given == [0]


def test_the_policy_is_the_first_unless_another_is_named(classifier: Classifier) -> None:
    images = bundles.images(9)
    plain = classifier.classify(list(images), policy="plain")
    assert said(plain) == expected(classifier, images, "plain") != expected(classifier, images)
    assert {each.exit for each in classifier.classify(list(images), policy="full")} == {"final"}


def test_an_unknown_policy_is_refused_with_the_known_ones(classifier: Classifier) -> None:
    with pytest.raises(BundleError, match="no exit policy 'fast'; it has gates, plain, full"):
        classifier.classify([], policy="fast")


@pytest.mark.parametrize(
    ("threshold", "thresholds"),
    [(0, (0, 0)), (0.5, (0.5, 0.5)), ((0.9, 0.1), (0.9, 0.1)), ([NEVER, 0], (NEVER, 0)), (np.ones(2), (1, 1))],
)
def test_thresholds_of_the_caller_take_the_place_of_the_policys(
    classifier: Classifier, threshold: Any, thresholds: tuple[float, ...]
) -> None:
    for name in ("gates", "plain"):
        chosen = classifier.policy(name, threshold)
        assert chosen.thresholds == thresholds
        assert chosen.score == classifier.policy(name).score


@pytest.mark.parametrize(
    ("threshold", "exits"), [(0, {"exit 1"}), (NEVER, {"final"}), ((NEVER, 0), {"exit 2"}), ((NEVER, NEVER), {"final"})]
)
def test_thresholds_of_the_caller_decide_where_images_leave(
    classifier: Classifier, threshold: float | tuple[float, float], exits: set[str]
) -> None:
    assert {each.exit for each in classifier.classify(list(bundles.images(4)), threshold=threshold)} == exits


@pytest.mark.parametrize("threshold", [(0.5,), (0.5, 0.5, 0.5), (), (0.5, -0.1), float("nan"), -1])
def test_thresholds_that_do_not_fit_are_refused(classifier: Classifier, threshold: float | tuple[float, ...]) -> None:
    with pytest.raises(ThresholdError):
        classifier.classify(list(bundles.images(1)), threshold=threshold)


def test_an_image_that_cannot_be_read_raises_after_those_before_it(
    classifier: Classifier, pictures: list[Path]
) -> None:
    pictures[2].write_bytes(b"no image")
    answers = classifier.classify_each(pictures)
    assert [next(answers).source, next(answers).source] == pictures[:2]
    with pytest.raises(ImageError, match=r"2\.png is not an image"):
        next(answers)
    with pytest.raises(ImageError, match=r"2\.png is not an image"):
        classifier.classify(pictures)


@pytest.mark.parametrize("batch", [1, 4])
def test_images_that_cannot_be_read_are_told_of_and_left_out(
    classifier: Classifier, pictures: list[Path], batch: int
) -> None:
    pictures[0].write_bytes(b"no image")
    pictures[5].unlink()
    unread: list[DataError] = []
    answers = list(classifier.classify_each(pictures, batch=batch, on_unreadable=unread.append))
    assert [each.source for each in answers] == [*pictures[1:5], *pictures[6:]]
    assert [str(error).split("/")[-1].split()[0] for error in unread] == ["0.png", "5.png"]
    whole = expected(classifier, bundles.images(9))
    assert said(answers) == [*whole[1:5], *whole[6:]]


def test_only_unreadable_images_give_no_answer(classifier: Classifier, tmp_path: Path) -> None:
    unread: list[DataError] = []
    assert list(classifier.classify_each([tmp_path / "absent.png", tmp_path], on_unreadable=unread.append)) == []
    assert len(unread) == 2


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.int16),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 0, 3), np.uint8),
    ],
    ids=lambda each: f"{each.dtype} {each.shape}",
)
def test_an_array_that_is_no_rgb_image_is_refused_with_its_shape(
    classifier: Classifier, picture: npt.NDArray[Any]
) -> None:
    with pytest.raises(ImageError) as caught:
        classifier.classify([picture])
    assert str(caught.value) == f"an image in memory is uint8 [height, width, 3], not {picture.dtype} {picture.shape}"


def test_arrays_of_any_size_and_memory_order_are_fitted_as_files_are(classifier: Classifier, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (21, 13, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    by_file = classifier.read(tmp_path / "x.png")
    assert by_file.shape == (8, 8, 3)
    for same in (pixels, np.asfortranarray(pixels), np.flip(np.flip(pixels).copy())):
        np.testing.assert_array_equal(classifier.read(same), by_file)


def test_a_picture_is_padded_as_the_bundle_says(tmp_path: Path) -> None:
    spec = InputSpec(bundles.SIDE, pad=2)
    classifier = load(bundles.write_tiny(tmp_path / "padded.gfd", input=spec), precision="fp32", threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    read = classifier.read(tmp_path / "x.png")
    np.testing.assert_array_equal(read, load_input(tmp_path / "x.png", spec))
    np.testing.assert_array_equal(read, classifier.read(pixels))
    np.testing.assert_array_equal(read[0], read[2])  # the border mirrors what is beside it


def test_a_large_jpeg_is_read_as_training_reads_it(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.fromarray(bundles.images(1)[0]).resize((400, 300), Image.Resampling.BICUBIC).save(path)
    np.testing.assert_array_equal(classifier.read(path), load_input(path, InputSpec(bundles.SIDE)))


def test_load_takes_the_path_as_text_too(bundle: Path) -> None:
    classifier = load(str(bundle), precision="int8", threads=1)
    assert classifier.manifest == read_bundle(bundle).manifest
    assert classifier.net.precision == "int8"
    assert classifier.net.engine_name.startswith("onnxruntime ")


def test_each_precision_runs_its_own_graphs(bundle: Path) -> None:
    images = bundles.images(4)
    logits = [load(bundle, precision=name, threads=1).net.all_exits(images)[0] for name in ("fp32", "int8")]
    assert not np.allclose(logits[0], logits[1])
    assert np.allclose(logits[0], logits[1], atol=2)


def test_load_refuses_what_is_not_there(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"tiny\.gfd has no segments in fp16; it has fp32, int8"):
        load(bundle, precision="fp16")
    with pytest.raises(BundleError, match="no bundle at"):
        load(bundle.with_name("absent.gfd"))
    with pytest.raises(EngineError, match="at least one thread, not -1"):
        load(bundle, threads=-1)


LOGITS = np.array([0.5, 3.25, -1], np.float32)


def test_a_prediction_holds_the_softmax_of_the_exit_taken() -> None:
    made = make_prediction(bundles.manifest(), bundles.POLICIES[0], "fp32", LOGITS, 1, Path("a/b.png"))
    powers = np.exp(LOGITS.astype(np.float64))
    np.testing.assert_allclose(list(made.probabilities.values()), powers / powers.sum())
    assert list(made.probabilities) == list(bundles.CLASSES)
    assert (made.label, made.exit, made.macs, made.source) == ("river", "exit 2", 250, Path("a/b.png"))
    assert made.confidence == made.probabilities["river"]


def test_logits_of_any_size_give_probabilities() -> None:
    made = make_prediction(
        bundles.manifest(), bundles.POLICIES[0], "fp32", np.array([3e38, 0, -3e38], np.float32), 2, None
    )
    assert made.probabilities == {"field": 1.0, "river": 0.0, "town": 0.0}


def test_classes_are_ranked_by_probability() -> None:
    made = make_prediction(bundles.manifest(), bundles.POLICIES[0], "fp32", LOGITS, 0, None)
    assert [name for name, _ in made.ranked()] == ["river", "field", "town"]
    assert made.ranked(1) == [("river", made.confidence)]
    assert made.ranked(9) == made.ranked()


def test_a_prediction_as_json_values_is_rounded_and_has_the_classes_asked_for() -> None:
    made = make_prediction(bundles.manifest(), bundles.POLICIES[0], "fp32", LOGITS, 2, Path("a/b.png"))
    assert made.to_dict(2) == {
        "source": "a/b.png",
        "label": "river",
        "confidence": 0.927479,
        "exit": "final",
        "macs": 400,
        "probabilities": {"river": 0.927479, "field": 0.059292},
        "policy": "gates",
        "policy_digest": bundles.POLICIES[0].digest,
        "precision": "fp32",
    }
    assert list(made.to_dict()["probabilities"]) == ["river", "field", "town"]
    assert make_prediction(bundles.manifest(), bundles.POLICIES[0], "fp32", LOGITS, 2, None).to_dict()["source"] is None


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_answer_says_by_which_policy_and_in_which_precision_it_was_made(bundle: Path, precision: str) -> None:
    classifier, images = load(bundle, precision=precision, threads=1), list(bundles.images(3))
    for policy in ("gates", "plain", "full"):
        made = classifier.classify(images, policy=policy, batch=2)
        assert {(each.policy, each.precision) for each in made} == {(policy, precision)}
        assert {(each.to_dict()["policy"], each.to_dict()["precision"]) for each in made} == {(policy, precision)}
    assert {each.policy for each in classifier.classify(images)} == {"gates"}
    assert {each.policy for each in classifier.classify(images, policy="plain", threshold=0.5)} == {"own"}


WARM = Fitted((0.5, 2.0, 1.0))


@pytest.mark.parametrize(("exit_index", "temperature"), [(0, 0.5), (1, 2.0), (2, 1.0)])
def test_probabilities_are_those_at_the_temperature_of_the_exit(exit_index: int, temperature: float) -> None:
    warm = replace(bundles.POLICIES[0], fitted=WARM)
    made = make_prediction(bundles.manifest(), warm, "fp32", LOGITS, exit_index, None)
    np.testing.assert_allclose(list(made.probabilities.values()), softmax(LOGITS / temperature), rtol=1e-6)
    assert made.confidence == made.probabilities["river"]


def test_a_policy_that_promises_nothing_tells_nothing() -> None:
    for policy in bundles.POLICIES:
        made = make_prediction(bundles.manifest(), policy, "fp32", LOGITS, 1, None)
        assert (made.unknown, made.prediction_set) == (None, None)
        assert not {"unknown", "prediction_set"} & set(made.to_dict())


def test_an_image_is_unknown_below_the_threshold_of_its_exit_whatever_its_temperature() -> None:
    energy = float(np.log(np.exp(LOGITS.astype(np.float64)).sum()))
    above, below = (UnknownRule((at, -math.inf, math.inf), 0.05) for at in (energy + 1e-9, energy - 1e-9))
    for fitted in (UNFITTED, WARM):
        unsure = replace(bundles.POLICIES[0], fitted=fitted, unknown_rule=above)
        found = [make_prediction(bundles.manifest(), unsure, "fp32", LOGITS, index, None).unknown for index in range(3)]
        assert found == [True, False, True]
        sure = replace(unsure, unknown_rule=below)
        assert make_prediction(bundles.manifest(), sure, "fp32", LOGITS, 0, None).unknown is False


def test_an_image_far_from_the_training_images_is_unknown_however_familiar_its_logits() -> None:
    rule = UnknownRule((-math.inf,) * 3, 0.05, distance=2.5)
    policy, manifest = replace(bundles.POLICIES[0], unknown_rule=rule), bundles.manifest()

    def unknown(distance: float) -> bool | None:
        return make_prediction(manifest, policy, "fp32", LOGITS, 1, None, np.float32(distance)).unknown

    assert [unknown(distance) for distance in (0.1, 2.5, 2.6, math.inf, math.nan)] == [False, False, True, True, True]
    with pytest.raises(BundleError, match="distances"):
        make_prediction(manifest, policy, "fp32", LOGITS, 1, None)


@pytest.mark.parametrize(
    ("exit_index", "members"),
    [(0, ("river",)), (1, ("river", "field")), (2, ("river", "field", "town"))],
)
def test_classes_are_among_by_the_quantile_of_the_exit_the_most_probable_first(
    exit_index: int, members: tuple[str, ...]
) -> None:
    sets = PredictionSets((0.0, 0.95, math.inf), 0.9)  # the most probable belongs, whatever the quantile
    made = make_prediction(
        bundles.manifest(), replace(bundles.POLICIES[0], prediction_sets=sets), "fp32", LOGITS, exit_index, None
    )
    assert made.prediction_set == members
    assert made.to_dict()["prediction_set"] == list(members)


def test_classes_are_among_at_the_temperature_of_the_exit() -> None:
    sets = PredictionSets((0.85, 0.85, 0.85), 0.9)
    policy = replace(bundles.POLICIES[0], prediction_sets=sets, fitted=WARM)
    sizes = [
        len(make_prediction(bundles.manifest(), policy, "fp32", LOGITS, index, None).prediction_set or ())
        for index in range(3)
    ]
    assert sizes == [1, 2, 1]  # the second exit is the least sure


def test_an_answer_that_is_no_number_is_unknown_and_may_be_anything() -> None:
    broken = np.array([np.nan, 1.0, 2.0], np.float32)
    with_all = replace(bundles.CALIBRATED, score="gate", fitted=UNFITTED)
    made = make_prediction(bundles.manifest(), with_all, "fp32", broken, 2, None)
    assert made.unknown is True
    assert set(made.prediction_set or ()) == set(bundles.CLASSES)


def test_json_values_of_a_calibrated_answer_are_json() -> None:
    made = make_prediction(bundles.manifest(), replace(bundles.CALIBRATED, score="gate"), "fp32", LOGITS, 0, None)
    said = json.loads(json.dumps(made.to_dict(1), allow_nan=False))
    assert said["unknown"] in (True, False)
    assert said["prediction_set"] == list(made.prediction_set or ())
    assert list(said)[-2:] == ["unknown", "prediction_set"]


def test_the_classifier_answers_by_the_policy_that_was_calibrated(bundle: Path) -> None:
    calibrated = replace(bundles.CALIBRATED, score="gate", thresholds=(0.7, 0.6))
    bundles.write_tiny(bundle, policies=(calibrated, *bundles.POLICIES))
    classifier, images = load(bundle, precision="fp32", threads=1), bundles.images(9)
    answers = classifier.net.decide(images, calibrated)
    for made, logits, exit_index in zip(classifier.classify(list(images)), answers.logits, answers.exits, strict=True):
        expected = make_prediction(classifier.manifest, calibrated, "fp32", logits, int(exit_index), None)
        assert (made.unknown, made.prediction_set, made.exit) == (
            expected.unknown,
            expected.prediction_set,
            expected.exit,
        )
        assert made.confidence == pytest.approx(expected.confidence, rel=1e-5)
    assert {each.unknown for each in classifier.classify(list(images), policy="gates")} == {None}


def test_thresholds_of_the_caller_end_what_was_promised(bundle: Path) -> None:
    bundles.write_tiny(bundle, policies=(bundles.CALIBRATED, *bundles.POLICIES))
    own = load(bundle, precision="fp32", threads=1).policy("calibrated", 0.5)
    assert own.fitted == bundles.CALIBRATED.fitted  # still what its score needs
    assert (own.guarantee, own.references, own.prediction_sets, own.unknown_rule) == ({}, {}, None, None)
