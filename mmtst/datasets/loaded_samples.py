"""Load a few samples as a training does, and look at them."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray
from torch import Tensor

from mmtst.datasets.built_data import iter_parts, spread
from mmtst.utils.errors import ConfigError

# A box may leave its image by the rounding of its numbers.
_ROUNDING = 1.0
_MOST_OUTSIDE = 0.5
_SHOWN = 3

# What may be wrong with a sample, and of which share of the images it makes
# the data unfit: of any one, of some, of all; or never.
_ANY, _SOME, _ALL, _NEVER = 0.0, 0.05, 1.0, 2.0
PROBLEMS = {
    'its size is not what the annotations say': _ANY,
    'more than half of a box lies outside of it': _SOME,
    'a box leaves it': _NEVER,
    'all of its objects are ignored once loaded': _ALL,
    'its label map has another size': _ANY,
    'its label map has colors in place of labels': _ANY,
    'its label map has labels beyond the classes': _ANY,
    'its label map has ignored pixels alone': _ALL,
    'it is not finite': _ANY,
    'it has no pixels after the pipeline': _ANY,
    'it has another number of channels than the model normalizes': _ANY,
}
_FIXES = {
    'its size is not what the annotations say': 'mend width and height in '
    'the annotations (tools/check_data.py CONFIG --fix FOLDER). Where it is '
    'turned by its EXIF orientation and the boxes are not, load it as it is '
    "stored: dict(type='LoadImageFromFile', color_type="
    "'color_ignore_orientation') in the pipelines",
    'all of its objects are ignored once loaded': 'masks that are no '
    'polygons need LoadAnnotations(poly2mask=True)',
    'it has another number of channels than the model normalizes': 'set '
    'color_type of LoadImageFromFile, or mean and std of the '
    'data_preprocessor',
    'its label map has colors in place of labels': 'write label maps of one '
    'channel, whose values are the classes',
    'its label map has labels beyond the classes': 'name all classes in '
    "metainfo.classes, or let the maps' other values be the ignored one; "
    'reduce_zero_label=True takes label 0 for the ignored one',
}


@dataclass
class Finding:
    """Say what is wrong with one sample.

    Attributes:
        problem: One of :data:`PROBLEMS`.
        file: Of the image.
        detail: Figures, in words.
    """

    problem: str
    file: str
    detail: str


def check_loaded(
    dataset: Any,
    where: str,
    *,
    images: int | None = 32,
    whole: int = 4,
    num_classes: int = 0,
    ignored: int = 255,
    channels: int | None = None,
) -> list[str]:
    """Load a sample of a built data set, and compare it with what it says.

    The loading steps of a pipeline are run on ``images``, all of its steps on
    ``whole``, and so are those that wrappers add (mosaics and the like).
    Copies of the steps are run, so that none keeps what it saw. The caller
    seeds and preserves random states.

    Args:
        dataset: Built; wrappers are followed.
        where: Path of the data set in the config.
        images: Samples of each part to load; ``None`` for all.
        whole: Samples of each part that pass through the whole pipeline.
        num_classes: Of label maps; 0 where there are none.
        ignored: The label of pixels that are not learned.
        channels: That the model normalizes; ``None`` where it does not tell.

    Returns:
        Sentences for the log, on what harms little.

    Raises:
        ConfigError: A sample cannot be loaded, or is not what it should be.
    """
    findings: list[Finding] = []
    looked_at = 0
    for part in iter_parts(dataset):
        steps = getattr(getattr(part, 'pipeline', None), 'transforms', None)
        if steps is None or not hasattr(part, 'get_data_info'):
            continue
        steps = copy.deepcopy(list(steps))
        loading = [step for step in steps if _is_loading(step)]
        for number in spread(len(part), images):
            results = _run(loading, part, number, where)
            looked_at += 1
            info = part.get_data_info(number)
            file = str(info.get('img_path', f'number {number}'))
            findings += [
                Finding(problem, file, detail)
                for problem, detail in _inspect(
                    results, info, num_classes, ignored
                )
            ]
        load = partial(_run, steps, part)
        if type(part).prepare_data is not BaseDataset.prepare_data:
            # It gives its steps more than it says of a sample.
            load = partial(_prepare, _set_apart(part))
        packed = [
            (number, load(number, where))
            for number in spread(len(part), whole)
        ]
        if packed and all(each is None for _, each in packed):
            _check_kept(load, part, images, where)
        findings += _inspect_packed(part, packed, channels)
    for mix in _iter_mixes(dataset):
        packed = [
            (number, _mix(mix, number, where))
            for number in spread(len(mix), whole)
        ]
        findings += _inspect_packed(mix, packed, channels)
    return _report(findings, looked_at, where)


def _is_loading(step: Any) -> bool:
    return type(step).__name__.startswith('Load')


def _run(steps: Sequence[Any], part: Any, number: int, where: str) -> Any:
    """Run steps on a sample; an error names the file and the step."""
    results = copy.deepcopy(part.get_data_info(number))
    file = results.get('img_path') if isinstance(results, dict) else None
    for step in steps:
        name = type(step).__name__
        try:
            results = step(results)
        except ConfigError:
            raise
        except Exception as error:
            said = str(error).strip().splitlines()
            raise ConfigError(
                'a sample of the data set cannot be loaded: '
                f'{type(error).__name__}: {said[0] if said else "no reason"}',
                where=f'{where}.pipeline, step {name}',
                got=file or f'sample {number}',
                fix='open the file with an image viewer, and run '
                'tools/check_data.py CONFIG for all that are like it; if '
                'the file is whole, correct the step',
            ) from error
        if results is None:
            # Pipelines drop samples this way, and another is drawn.
            return None
    return results


def _check_kept(
    load: Callable[[int, str], Any],
    part: Any,
    images: int | None,
    where: str,
) -> None:
    """Refuse a pipeline that drops all it is given.

    mmengine draws another sample in its place, a thousand times.
    """
    numbers = spread(len(part), images)
    for number in numbers:
        if load(number, where) is not None:
            return
    raise ConfigError(
        'the pipeline drops every image that was looked at',
        where=f'{where}.pipeline',
        got=f'{len(numbers)} images of {len(part)}',
        fix='look at what drops images: FilterAnnotations, crops that '
        'allow no image without an object (allow_negative_crop), '
        'ignore_empty',
    )


def _iter_mixes(dataset: Any) -> Iterator[Any]:
    """Yield copies of wrappers with pipelines of their own, outermost first.

    The copies share what the data sets hold, and have their own steps.
    """
    own = getattr(dataset, '__dict__', {})
    inner = own.get('dataset')
    if inner is not None and own.get('pipeline'):
        yield _set_apart(dataset)
        return
    for part in [inner] if inner is not None else own.get('datasets') or ():
        yield from _iter_mixes(part)


def _set_apart(dataset: Any) -> Any:
    copied = copy.copy(dataset)
    # Not by setattr, which wrappers may hand on to what they wrap.
    own = vars(copied)
    if 'pipeline' in own:
        own['pipeline'] = copy.deepcopy(own['pipeline'])
    if hasattr(own.get('dataset'), '__dict__'):
        own['dataset'] = _set_apart(own['dataset'])
    if isinstance(own.get('datasets'), (list, tuple)):
        own['datasets'] = [_set_apart(part) for part in own['datasets']]
    return copied


def _mix(dataset: Any, number: int, where: str) -> Any:
    """Return a sample of a wrapper with steps of its own."""
    return _make(dataset, dataset.__getitem__, number, where)


def _prepare(dataset: Any, number: int, where: str) -> Any:
    """Return a sample as a data set of others prepares it."""
    return _make(dataset, dataset.prepare_data, number, where)


def _make(
    dataset: Any, make: Callable[[int], Any], number: int, where: str
) -> Any:
    try:
        return make(number)
    except ConfigError:
        raise
    except Exception as error:
        said = str(error).strip().splitlines()
        own = getattr(dataset.pipeline, 'transforms', dataset.pipeline)
        steps = ', '.join(type(step).__name__ for step in own)
        raise ConfigError(
            'a sample of the data set cannot be made: '
            f'{type(error).__name__}: {said[0] if said else "no reason"}',
            where=f'{where}.pipeline of {type(dataset).__name__}',
            got=f'sample {number}, {_file_of(dataset, number)}',
            fix=f'look at its steps ({steps}) and their order',
        ) from error


def _file_of(dataset: Any, number: int) -> str:
    look = getattr(dataset, 'get_data_info', None)
    info: dict[str, Any] = look(number) if look is not None else {}
    return str(info.get('img_path', f'number {number}'))


def _inspect_packed(
    dataset: Any, packed: Sequence[tuple[int, Any]], channels: int | None
) -> list[Finding]:
    """Return what is wrong with samples that went through the pipeline."""
    findings = []
    for number, results in packed:
        inputs = results.get('inputs') if isinstance(results, dict) else None
        if not isinstance(inputs, Tensor) or inputs.dim() != 3:
            continue
        shape = ' x '.join(map(str, inputs.shape))
        if not inputs.numel():
            problem = 'it has no pixels after the pipeline'
        # One mean stands for all channels.
        elif channels not in (None, 1, len(inputs)):
            problem = (
                'it has another number of channels than the model normalizes'
            )
            shape += f' for {channels} channels'
        elif not inputs.isfinite().all():
            problem = 'it is not finite'
        else:
            continue
        findings.append(Finding(problem, _file_of(dataset, number), shape))
    return findings


def _inspect(
    results: Any, info: Any, num_classes: int, ignored: int
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a sample that was loaded."""
    if not isinstance(results, dict) or results.get('img') is None:
        return
    image = results['img']
    size = image.shape[:2]
    if image.dtype.kind == 'f' and not np.isfinite(image).all():
        yield 'it is not finite', ''
    said = (info.get('height'), info.get('width'))
    if None not in said and tuple(said) != tuple(size):
        turned = ', turned by a right angle' * (said == size[::-1])
        detail = (
            f'{size[1]} x {size[0]} pixels, {said[1]} x {said[0]} in the '
            f'annotations{turned}'
        )
        yield 'its size is not what the annotations say', detail
    yield from _inspect_objects(results, info, size)
    label_map = results.get('gt_seg_map')
    # Beside objects a map has classes of its own, as stuff beside things.
    if label_map is not None and num_classes and 'instances' not in info:
        yield from _inspect_map(label_map, size, num_classes, ignored)


def _inspect_objects(
    results: dict[str, Any], info: Any, size: Sequence[int]
) -> Iterator[tuple[str, str]]:
    boxes = results.get('gt_bboxes')
    if boxes is not None and len(boxes):
        corners = getattr(boxes, 'tensor', boxes)
        corners = np.asarray(corners, np.float64).reshape(len(boxes), -1)
        flags = results.get('gt_ignore_flags')
        if flags is not None and len(flags) == len(corners):
            corners = corners[~np.asarray(flags, bool)]
        if corners.shape[1] == 4 and len(corners):
            yield from _inspect_boxes(corners, size)
    flags = results.get('gt_ignore_flags')
    wanted = sum(
        not each.get('ignore_flag') for each in info.get('instances') or ()
    )
    if flags is not None and wanted and np.asarray(flags).all():
        yield 'all of its objects are ignored once loaded', f'{wanted} objects'


def _inspect_boxes(
    boxes: NDArray[np.float64], size: Sequence[int]
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with (n, 4) boxes, corners in pixels."""
    limits = np.array([size[1], size[0]] * 2, np.float64)
    inside = np.clip(boxes, 0, limits)
    beyond = np.abs(boxes - inside).max(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    left = (inside[:, 2:] - inside[:, :2]).prod(axis=1)
    outside = 1 - left / np.maximum(area, 1e-6)
    for bad, problem in (
        (
            (area > 0) & (outside > _MOST_OUTSIDE),
            'more than half of a box lies outside of it',
        ),
        (beyond > _ROUNDING, 'a box leaves it'),
    ):
        if bad.any():
            worst = boxes[bad][beyond[bad].argmax()]
            shown = ', '.join(f'{value:g}' for value in worst)
            yield (
                problem,
                f'box ({shown}) in {size[1]} x {size[0]} pixels, '
                f'{int(bad.sum())} of {len(boxes)}',
            )
            return


def _inspect_map(
    label_map: NDArray[Any],
    size: Sequence[int],
    num_classes: int,
    ignored: int,
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an (H, W) label map."""
    if label_map.ndim != 2:
        yield (
            'its label map has colors in place of labels',
            f'an array of {label_map.shape}',
        )
        return
    if label_map.shape != tuple(size):
        yield (
            'its label map has another size',
            f'{label_map.shape[1]} x {label_map.shape[0]} for an image of '
            f'{size[1]} x {size[0]}',
        )
    labels = np.unique(label_map)
    labels = labels[labels != ignored]
    beyond = labels[(labels < 0) | (labels >= num_classes)]
    if len(beyond):
        yield (
            'its label map has labels beyond the classes',
            f'{beyond[:_SHOWN].tolist()} with {num_classes} classes and '
            f'{ignored} ignored',
        )
    elif not len(labels):
        yield 'its label map has ignored pixels alone', ''


def _report(findings: list[Finding], looked_at: int, where: str) -> list[str]:
    """Raise the worst of what was found; return sentences on the rest."""
    by_problem: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_problem[finding.problem].append(finding)
    lines = []
    for problem, share in PROBLEMS.items():
        found = by_problem.get(problem)
        if not found:
            continue
        files = len({each.file for each in found})
        if files >= share * looked_at:
            first = found[0]
            others = [each.file for each in found[1:_SHOWN]]
            raise ConfigError(
                f'{files} of {looked_at} images looked at: {problem}',
                where=where,
                got=f'{first.file}'
                + (f': {first.detail}' if first.detail else '')
                + (f'; also {", ".join(others)}' if others else ''),
                fix=_FIXES.get(problem, 'mend the annotations or label maps')
                + '; to train all the same, '
                'default_hooks = dict(data_check=dict(enabled=False))',
            )
        first = found[0]
        detail = f': {first.detail}' if first.detail else ''
        lines.append(
            f'{where}: {files} of {looked_at} images looked at: {problem}; '
            f'{first.file}{detail}'
        )
    return lines
