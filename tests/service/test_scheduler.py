"""Tasks through queues and batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import EngineError
from gfnet_dynn.runtime.engine import Engine, Graph
from gfnet_dynn.runtime.precision import compile_net
from gfnet_dynn.runtime.segments import SegmentedNet
from gfnet_dynn.service.costs import SegmentCosts
from gfnet_dynn.service.ladder import Ladder, Level
from gfnet_dynn.service.problems import QueueFullError
from gfnet_dynn.service.scheduler import Scheduler
from gfnet_dynn.service.task import Ending, Lowered, Task
from tests import bundles
from tests.runtime.engines import ONNXRUNTIME, Watched

BATCH = 4
NEVER_LATE = 1e9
LAST = bundles.STAGES - 1
GATES, PLAIN, FULL = bundles.POLICIES


class Held:
    """Computes as another engine does, once it is let go; may be told to fail."""

    def __init__(self) -> None:
        self.watched = Watched()
        self.name = "held"
        self.may_run = threading.Event()
        self.begun = threading.Event()
        self.fails = False

    def compile(self, graph: bytes) -> Graph:
        inner = self.watched.compile(graph)

        def compute(array: Any) -> Sequence[Any]:
            self.begun.set()
            assert self.may_run.wait(20)
            if self.fails:
                raise EngineError("it failed")
            return inner.run(array)

        return Graph(self.name, [inner.input], inner.outputs, compute)


def net_of(folder: Path, engine: Engine = ONNXRUNTIME) -> SegmentedNet:
    return compile_net(read_bundle(bundles.write_tiny(folder / "tiny.gfd")), "fp32", engine)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def scheduler(tmp_path: Path, held: Held) -> Iterator[Scheduler]:
    made = Scheduler(net_of(tmp_path, held), costs(), ladder(), 100)
    yield made
    held.may_run.set()
    made.close()


def costs(image_s: float = 1e-6) -> SegmentCosts:
    return SegmentCosts([0.0] * bundles.STAGES, [image_s] * bundles.STAGES, BATCH)


def ladder(image_s: float = 1e-6) -> Ladder:
    return Ladder(bundles.POLICIES, costs(image_s), "fp32")


class Ended:
    """Tasks that have ended, in order."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self._changed = threading.Condition()

    def __call__(self, task: Task) -> None:
        with self._changed:
            self.tasks.append(task)
            self._changed.notify_all()

    def wait(self, number: int) -> list[Task]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.tasks) >= number, 20)
            return self.tasks


def tasks_of(
    images: bundles.Images,
    ended: Ended,
    *policies: Policy,
    within_s: float = NEVER_LATE,
    patience_s: float = 1e6,
    **more: Any,
) -> list[Task]:
    deadline = time.perf_counter() + within_s
    levels = tuple(Level(each, LAST) for each in policies or (GATES,))
    return [Task(image, levels, deadline, patience_s, ended, **more) for image in images]


@pytest.mark.parametrize("policy", [GATES, PLAIN, FULL], ids=lambda policy: policy.name)
@pytest.mark.parametrize("every_exit", [False, True])
def test_answers_are_those_of_the_network(tmp_path: Path, policy: Policy, every_exit: bool) -> None:
    net, images, ended = net_of(tmp_path), bundles.images(41), Ended()
    scheduler = Scheduler(net, costs(), ladder(), 100)
    tasks = tasks_of(images, ended, policy, every_exit=every_exit, keeps_exits=every_exit)
    scheduler.submit(tasks)
    scheduler.close()
    expected = net.decide(images, policy)
    assert len(ended.tasks) == len(images)
    assert [task.exit_index for task in tasks] == expected.exits.tolist()
    for task, logits in zip(tasks, expected.logits, strict=True):
        assert task.ending is Ending.ANSWERED
        assert task.lowered is None
        assert task.logits == pytest.approx(logits, abs=1e-5)
    if every_exit:
        known = net.all_exits(images)
        for task, logits in zip(tasks, known.logits, strict=True):
            assert np.array([each.logits for each in task.exits]) == pytest.approx(logits, abs=1e-5)
            assert [each.is_answer for each in task.exits].count(True) == 1
            assert task.exits[-1].score is None
    assert scheduler.pending == 0


def test_batches_form_across_requests_and_after_each_exit(scheduler: Scheduler, held: Held) -> None:
    ended, images = Ended(), bundles.images(24)
    scheduler.submit(tasks_of(images[:1], ended, FULL))
    assert held.begun.wait(20)  # alone; meanwhile others arrive one by one
    for image in images[1:]:
        scheduler.submit(tasks_of(image[None], ended, FULL))
    held.may_run.set()
    ended.wait(24)
    first, second, last = held.watched.seen
    assert first[0] == 1
    assert max(map(max, (first, second, last))) == BATCH
    assert sum(first) == sum(second) == sum(last) == 24
    assert len(second) <= 8  # of 24: never one by one


def test_a_segment_runs_only_for_those_that_reach_it(scheduler: Scheduler, held: Held) -> None:
    ended, images = Ended(), bundles.images(40)
    held.may_run.set()
    tasks = tasks_of(images, ended, GATES)
    scheduler.submit(tasks)
    ended.wait(40)
    exits = np.array([task.exit_index for task in tasks])
    assert 0 < (exits == 0).sum() < 40
    assert [sum(each) for each in held.watched.seen] == [40, (exits >= 1).sum(), (exits == 2).sum()]


def test_earlier_deadlines_go_first(scheduler: Scheduler, held: Held) -> None:
    ended, images = Ended(), bundles.images(9)
    scheduler.submit(tasks_of(images[:1], ended, FULL))
    assert held.begun.wait(20)
    patient = tasks_of(images[1:5], ended, FULL, within_s=500)
    urgent = tasks_of(images[5:], ended, FULL, within_s=50)
    scheduler.submit(patient)
    scheduler.submit(urgent)
    held.may_run.set()
    order = ended.wait(9)
    assert max(map(order.index, urgent)) < min(map(order.index, patient))


def test_a_task_that_is_late_is_not_computed(scheduler: Scheduler, held: Held) -> None:
    ended, images = Ended(), bundles.images(4)
    scheduler.submit(tasks_of(images[:1], ended, FULL))
    assert held.begun.wait(20)
    late = tasks_of(images[1:], ended, FULL, within_s=0.0)
    scheduler.submit(late)
    held.may_run.set()
    ended.wait(4)
    assert [each.ending for each in late] == [Ending.LATE] * 3
    assert [sum(each) for each in held.watched.seen] == [1, 1, 1]


def test_a_task_that_nobody_waits_for_is_not_computed(scheduler: Scheduler, held: Held) -> None:
    ended, images = Ended(), bundles.images(4)
    scheduler.submit(tasks_of(images[:1], ended, FULL))
    assert held.begun.wait(20)
    gone = tasks_of(images[1:], ended, FULL)
    scheduler.submit(gone)
    for each in gone:
        each.is_gone = True
    held.may_run.set()
    ended.wait(4)
    assert [each.ending for each in gone] == [Ending.GONE] * 3
    assert sum(held.watched.seen[0]) == 1


@pytest.mark.parametrize(("company", "exit_index"), [(0, LAST), (BATCH - 1, 0)])
def test_an_image_takes_the_exits_that_what_waits_leaves_time_for(
    tmp_path: Path, company: int, exit_index: int
) -> None:
    """By the costs, each further segment fits into the time for one image, and none for a batch of four."""
    ended = Ended()
    scheduler = Scheduler(net_of(tmp_path), costs(image_s=10.0), ladder(), 100)
    tasks = tasks_of(bundles.images(1 + company), ended, FULL, within_s=25.0)
    scheduler.submit(tasks)
    scheduler.close()
    assert {each.exit_index for each in tasks} == {exit_index}


@pytest.mark.parametrize("may_hurry", [True, False])
def test_near_its_deadline_an_image_takes_the_exit_it_has(tmp_path: Path, may_hurry: bool) -> None:
    """By the costs, one segment fits into the time and two do not."""
    ended, held = Ended(), Held()
    held.may_run.set()
    scheduler = Scheduler(net_of(tmp_path, held), costs(image_s=10.0), ladder(), 100)
    tasks = tasks_of(bundles.images(4), ended, FULL, within_s=15.0, may_hurry=may_hurry)
    scheduler.submit(tasks)
    scheduler.close()
    if may_hurry:
        assert {(each.ending, each.exit_index, each.lowered) for each in tasks} == {
            (Ending.ANSWERED, 0, Lowered.DEADLINE)
        }
        assert [sum(each) for each in held.watched.seen] == [4, 0, 0]
    else:
        assert {each.ending for each in tasks} == {Ending.LATE}
        assert [sum(each) for each in held.watched.seen] == [0, 0, 0]  # nothing is begun that cannot be finished


def test_a_deadline_that_passes_between_segments_is_answered_by_the_exit_before(tmp_path: Path) -> None:
    ended, held = Ended(), Held()
    held.may_run.set()
    scheduler = Scheduler(net_of(tmp_path, held), costs(), ladder(), 100)
    tasks = tasks_of(bundles.images(1), ended, FULL, within_s=0.1)
    tasks[0].on_exit = lambda seen: time.sleep(0.15)  # what the costs do not foresee
    scheduler.submit(tasks)
    scheduler.close()
    assert (tasks[0].ending, tasks[0].exit_index, tasks[0].lowered) == (Ending.ANSWERED, 0, Lowered.DEADLINE)


@pytest.mark.parametrize(("patience_s", "lowered"), [(1e6, 0), (1.0, 3)])
def test_load_lowers_the_policy(tmp_path: Path, patience_s: float, lowered: int) -> None:
    ended, held = Ended(), Held()
    scheduler = Scheduler(net_of(tmp_path, held), costs(image_s=1.0), ladder(image_s=1.0), 100)
    first = Policy("first exit", "gate", (0.0, 0.0), "made up")
    tasks = tasks_of(bundles.images(40), ended, FULL, first, patience_s=patience_s)
    scheduler.submit(tasks)
    assert held.begun.wait(20)
    held.may_run.set()
    scheduler.close()
    found = [each.lowered for each in tasks]
    if lowered:
        assert found.count(Lowered.LOAD) >= 30  # not the last ones, behind which the queue is short
        assert {each.exit_index for each in tasks if each.lowered} == {0}
        assert all(each.policy is first for each in tasks if each.lowered)
    else:
        assert found == [None] * 40


def test_a_level_may_end_at_an_earlier_exit(tmp_path: Path) -> None:
    ended, net = Ended(), net_of(tmp_path)
    scheduler = Scheduler(net, costs(image_s=1.0), ladder(image_s=1.0), 100)
    images, levels = bundles.images(30), (Level(FULL, LAST), Level(GATES, 1))
    tasks = [Task(image, levels, NEVER_LATE, 1e-9, ended) for image in images]
    scheduler.submit(tasks)
    scheduler.close()
    exits = np.minimum(net.decide(images, GATES).exits, 1)
    assert [task.exit_index for task in tasks] == exits.tolist()
    assert {task.lowered for task in tasks} == {Lowered.LOAD}
    assert all(task.is_cut_short for task in tasks)


def test_the_ladder_goes_down_from_policies_to_exits() -> None:
    first = Policy("first exit", "gate", (0.0, 0.0), "made up")
    made = Ladder((first, FULL), costs(1.0), "fp32")
    assert [(each.policy.name, each.last) for each in made.below(FULL)] == [
        ("first exit", 2),
        ("first exit", 1),
        ("first exit", 0),
    ]
    assert [made.seconds(each) for each in (Level(FULL, 2), Level(FULL, 1), Level(first, 2))] == [3, 2, 1]
    bounded = Ladder((first, GATES, FULL), costs(1.0), "fp32", lowest=GATES)
    assert bounded.below(FULL) == ()  # GATES was not calibrated, and counts as the full network


def test_a_busy_spell_does_not_refuse_work_for_ever(tmp_path: Path) -> None:
    ended, slow = Ended(), costs(image_s=0.001)
    for _ in range(500):
        slow.observe(0, 1, 1.0)
    assert slow.factor > 10
    scheduler = Scheduler(net_of(tmp_path), slow, ladder(), 100)
    for number in range(200):  # one at a time, on an idle device
        (task,) = tasks_of(bundles.images(1), ended, FULL, within_s=0.015, may_hurry=False)
        scheduler.submit([task])
        ended.wait(number + 1)
    scheduler.close()
    assert ended.tasks[0].ending is Ending.LATE
    assert Ending.ANSWERED in {each.ending for each in ended.tasks[-100:]}


def test_policies_of_one_batch_may_differ(tmp_path: Path) -> None:
    net, images, ended = net_of(tmp_path), bundles.images(30), Ended()
    scheduler = Scheduler(net, costs(), ladder(), 100)
    policies = [(GATES, PLAIN, FULL)[row % 3] for row in range(30)]
    tasks = [
        Task(image, (Level(each, LAST),), NEVER_LATE, 1e6, ended) for image, each in zip(images, policies, strict=True)
    ]
    scheduler.submit(tasks)
    scheduler.close()
    for row, (task, policy) in enumerate(zip(tasks, policies, strict=True)):
        assert task.exit_index == net.decide(images[row][None], policy).exits[0]


def test_a_full_queue_takes_all_of_a_request_or_nothing(tmp_path: Path, held: Held) -> None:
    ended = Ended()
    scheduler = Scheduler(net_of(tmp_path, held), costs(), ladder(), 10)
    scheduler.submit(tasks_of(bundles.images(8), ended))
    with pytest.raises(QueueFullError) as caught:
        scheduler.submit(tasks_of(bundles.images(3), ended))
    assert (caught.value.status, caught.value.retry_after) == (429, 1)
    with pytest.raises(QueueFullError) as too_many:
        scheduler.submit(tasks_of(bundles.images(11), ended))
    assert (too_many.value.status, too_many.value.retry_after) == (413, None)
    scheduler.submit(tasks_of(bundles.images(2), ended))
    held.may_run.set()
    scheduler.close()
    assert len(ended.tasks) == 10


def test_a_failing_engine_is_told_and_the_next_task_is_answered(scheduler: Scheduler, held: Held) -> None:
    ended = Ended()
    held.fails = True
    held.may_run.set()
    scheduler.submit(tasks_of(bundles.images(3), ended))
    failed = list(ended.wait(3))
    assert [each.ending for each in failed] == [Ending.FAILED] * 3
    assert isinstance(failed[0].error, EngineError)
    held.fails = False
    scheduler.submit(tasks_of(bundles.images(2), ended))
    assert [each.ending for each in ended.wait(5)[3:]] == [Ending.ANSWERED] * 2


def test_closing_finishes_what_was_accepted(tmp_path: Path, held: Held) -> None:
    ended = Ended()
    scheduler = Scheduler(net_of(tmp_path, held), costs(), ladder(), 100)
    scheduler.submit(tasks_of(bundles.images(20), ended, FULL))
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    held.may_run.set()
    closing.join(20)
    assert [each.ending for each in ended.tasks] == [Ending.ANSWERED] * 20
