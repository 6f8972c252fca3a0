"""Find exit policies with a guarantee or a budget, and store them in a bundle. No torch, no network connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gfnet_dynn.bundle.archive import Bundle, read_bundle, update_bundle
from gfnet_dynn.bundle.builtin import require_own
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.calibration.costs import costs_of
from gfnet_dynn.calibration.outputs import (
    Outputs,
    collect_outputs,
    find_calibration_images,
    load_outputs,
    store_outputs,
)
from gfnet_dynn.calibration.request import CalibrationRequest
from gfnet_dynn.calibration.result import CalibrationResult, make_result
from gfnet_dynn.calibration.search import FoundPolicy, find_policy
from gfnet_dynn.errors import BundleError, CalibrationError, StorageError
from gfnet_dynn.guarantees.budget import Costs
from gfnet_dynn.options import flag
from gfnet_dynn.progress import OnProgress, ignore_progress
from gfnet_dynn.reporting.plot import new_figure
from gfnet_dynn.runtime.engine import EngineOptions, default_threads, make_engine
from gfnet_dynn.system.storage import require_writable, write_json


def calibrate(request: CalibrationRequest, *, on_progress: OnProgress = ignore_progress) -> CalibrationResult:
    """Find the cheapest exit policy that keeps a risk, a budget or both, and store it in the bundle.

    It becomes the bundle's default, unless it saves nothing or the default is both more accurate and cheaper.

    Raises:
        BundleError: the bundle is missing or damaged, or a built-in model that would be changed.
        CalibrationError: the images cannot support the request; says what would do.
        OptionError: a budget that the full network keeps.
        DataError: an image cannot be read.
        StorageError: a file cannot be written.
    """
    require_own(request.bundle, request.output)
    _require_separate_files(request)
    if request.plot:
        new_figure(1, 1)  # refuses at once where matplotlib is missing
    bundle = read_bundle(request.bundle)
    costs = costs_of(request, bundle.manifest)  # refuses before the images are classified, which takes longest
    outputs = _outputs(request, bundle, on_progress)
    if request.outputs:  # before anything else can be refused
        store_outputs(request.outputs, outputs)
    outputs = outputs.only(request.covered(bundle.manifest))
    result = make_result(_find(outputs, request, costs, bundle.manifest), outputs, bundle.manifest)
    changed = update_bundle(request.bundle, _with_policy(result, bundle), request.output)
    written = {"bundle": changed, "outputs": request.outputs, "report": request.report, "plot": request.plot}
    result = replace(
        result,
        doubts=(*_doubts(bundle.manifest), *_changes(bundle.manifest, read_bundle(changed).manifest, request.name)),
        written={kind: path for kind, path in written.items() if path},
    )
    if request.report:
        write_json(request.report, result.to_dict())
    if request.plot:
        result.plot(request.plot)
    return result


def _find(outputs: Outputs, request: CalibrationRequest, costs: Costs, manifest: Manifest) -> FoundPolicy:
    """As `find_policy`; a refusal because of one precision names how to leave it out."""
    try:
        return find_policy(outputs, request, costs)
    except CalibrationError as error:
        if error.precision is None:
            raise
        if error.precision in manifest.auto_precisions:
            way = f"leave {error.precision} out by `gfnet-dynn export --no-int8`"
        else:
            option = "--all-precisions" if request.all_precisions else f"--precision {error.precision}"
            way = f"without {option}, {error.precision} need not be covered"
        raise CalibrationError(f"{error}; {way}", error.precision) from error


def _with_policy(result: CalibrationResult, bundle: Bundle) -> Callable[[Manifest], Manifest]:
    """Adds the policy to a manifest that still describes the graphs that were calibrated."""
    policy = result.found.policy

    def change(current: Manifest) -> Manifest:
        if current.files != bundle.manifest.files:
            raise BundleError(f"{bundle.path} was replaced by another bundle during the calibration: calibrate again")
        others = tuple(each for each in current.policies if each.name != policy.name)
        return replace(current, policies=(*others, policy) if result.not_default else (policy, *others))

    return change


def _outputs(request: CalibrationRequest, bundle: Bundle, on_progress: OnProgress) -> Outputs:
    if request.images.is_file():
        return load_outputs(request.images, bundle)
    threads = default_threads() if request.threads is None else request.threads
    engine = make_engine(request.engine, EngineOptions(threads))
    on_step = partial(on_progress, "Reading the images")
    images = find_calibration_images(
        request.images, bundle, need_labels=request.needs_labels, on_step=on_step, decode=request.decode
    )
    on_step = partial(on_progress, "Classifying at every exit")
    return collect_outputs(bundle, images, engine, on_step, request.decode, request.covered(bundle.manifest))


def _changes(before: Manifest, after: Manifest, name: str) -> list[str]:
    """What the new policy replaced: an older one of its name, and the default."""
    replaced = [each for each in before.policies if each.name == name and each.guarantee]
    notes = [f"replaced the policy {name}, which guaranteed: {each.guarantee.get('statement')}" for each in replaced]
    then, now = before.policies[0].name, after.policies[0].name
    was = "" if then == now else f" (before: {then}; `gfnet-dynn bundle set-default` changes it)"
    return [*notes, f"default policy of the bundle: {now}{was}"]


def _doubts(manifest: Manifest) -> list[str]:
    """Why the images may not be new to the network, though none was refused."""
    if manifest.learned_from is None:
        return ["the bundle has no record of its training images, so whether these are new to it is not checked"]
    described = manifest.provenance.get("learned_from")
    unknown = described.get("unknown") if isinstance(described, Mapping) else None
    if not isinstance(unknown, Sequence) or isinstance(unknown, str) or not unknown:
        return []
    named = " and ".join(map(str, unknown))
    return [f"the training images of {named} are not recorded: the guarantee holds if these images are not among them"]


def _require_separate_files(request: CalibrationRequest) -> None:
    """No result replaces another or an input; but the bundle and kept outputs may be written back."""
    given = {"BUNDLE": request.bundle, "IMAGES": request.images, "--benchmark": request.benchmark}
    results: dict[str, Path | None] = {
        flag(name): getattr(request, name) for name in ("output", "report", "plot", "outputs")
    }
    for target in filter(None, (request.output or request.bundle, *results.values())):
        if target.is_dir():
            raise StorageError(f"{target} is a folder: name the file to write")
        require_writable(target.absolute().parent)
    for option, file in results.items():
        for other, place in {**given, **results}.items():
            back = (option, other) in (("--output", "BUNDLE"), ("--outputs", "IMAGES"))
            if file and place and option != other and not back and file.resolve() == place.resolve():
                raise StorageError(f"{option} and {other} are both {file}: name another file")
