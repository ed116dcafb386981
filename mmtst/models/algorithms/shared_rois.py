"""Let a teacher judge the very regions that its student has sampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import (
    DIIHead,
    DoubleConvFCBBoxHead,
    MultiInstanceBBoxHead,
)
from torch import Tensor, nn

from mmtst.utils.errors import ConfigError

_ROI_HEAD = 'roi_head'
_FITTING = 'StandardRoIHead or CascadeRoIHead, not one derived from them'
_ELSE = (
    'distil what lies before it (backbone, neck, rpn_head), or take another '
    '{side}'
)
# Box heads that do not map one feature to one prediction for each RoI.
_UNFIT = (DIIHead, DoubleConvFCBBoxHead, MultiInstanceBBoxHead)
_SIDES = {'student': 'model.architecture', 'teacher': 'model.teacher'}


class SharedRoIs:
    """Carry RoIs from a student's box head to its teacher's.

    Two-stage pairs are compared on the same regions, as in TST's reference
    code (the paper names what is distilled, class predictions, and not on
    which regions): those that the student has proposed and sampled, ground
    truth included where its sampler adds it. The teacher looks at them with
    its own features, its own RoI extractor and its own box head; of a
    cascade, on either side, the first stage counts, since later stages have
    moved the boxes.

    Strides, channels, box head types, shared heads and class-agnostic
    regression may differ: RoIs are in pixels of the image that both see, and
    only class scores are compared.

    Args:
        student: A two-stage detector with a ``StandardRoIHead`` or a
            ``CascadeRoIHead``.
        teacher: Likewise, with the same number of classes.

    Raises:
        ConfigError: A RoI head or box head works otherwise, or the classes
            differ.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        self.student = student
        self.teacher = teacher
        self._rois: Tensor | None = None
        heads = {
            side: _first_box_head(model, side)
            for side, model in (('student', student), ('teacher', teacher))
        }
        counts = {side: head.num_classes for side, head in heads.items()}
        if counts['student'] != counts['teacher']:
            raise ConfigError(
                'student and teacher tell another number of classes apart: '
                'their predictions cannot be compared',
                where='model.architecture and model.teacher: '
                'roi_head.bbox_head.num_classes',
                got=counts,
                allowed='the same number',
                fix='set num_classes of both in their cfg_options, and give '
                'a teacher that was trained on these classes',
            )

    @classmethod
    def between(
        cls,
        student: nn.Module,
        teacher: nn.Module,
        distiller: Mapping[str, Any],
    ) -> SharedRoIs | None:
        """Return what a distiller's recorders need of a pair.

        Args:
            student: The student.
            teacher: The teacher.
            distiller: The distiller's config.

        Returns:
            ``None`` where no RoI head of the teacher is listened to.

        Raises:
            ConfigError: The pair cannot share RoIs, or a recorder listens
                to a part of a RoI head that does not see them.
        """
        if not _roi_sources(distiller, 'teacher'):
            return None
        shared = cls(student, teacher)
        for side, model in (('student', student), ('teacher', teacher)):
            _check_sources(model, _roi_sources(distiller, side), side)
        return shared

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note the RoIs while the student computes its losses.

        They are kept until the context ends, so the teacher has to look at
        them inside it. The first call of the student's box RoI extractor
        counts (of the first stage's, in a cascade) that is made under the
        gradient mode found on entering: hard-example samplers look at
        candidates without gradients before, and mask heads may use the same
        extractor after.
        """
        enabled = torch.is_grad_enabled()

        def note(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> None:
            del module
            if self._rois is None and torch.is_grad_enabled() == enabled:
                rois = args[1] if len(args) > 1 else kwargs['rois']
                self._rois = rois.detach()

        extractor = _first(self.student.roi_head, 'bbox_roi_extractor')
        handle = extractor.register_forward_pre_hook(note, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
            self._rois = None

    @torch.no_grad()
    def evaluate(self, features: Sequence[Tensor]) -> None:
        """Run the teacher's first box head on the RoIs that were noted.

        Recorders hear it; nothing is returned.

        Args:
            features: The teacher's, of the images that the student saw: one
                (B, C, H, W) tensor for each level.

        Raises:
            RuntimeError: No RoIs were noted.
        """
        rois = self._rois
        if rois is None:
            raise RuntimeError(
                'The student has sampled no RoIs: run it for its losses '
                'first, and the teacher after it, inside one '
                'SharedRoIs.listening().'
            )
        roi_head: Any = self.teacher.roi_head
        if isinstance(roi_head, CascadeRoIHead):
            roi_head._bbox_forward(0, features, rois)
        else:
            roi_head._bbox_forward(features, rois)


def _roi_sources(distiller: Mapping[str, Any], side: str) -> list[str]:
    """Return the modules of a RoI head that are recorded on one side."""
    recorders = (distiller.get(f'{side}_recorders') or {}).values()
    return [
        recorder['source']
        for recorder in recorders
        if str(recorder.get('type')).startswith('Module')
        and recorder['source'].split('.')[0] == _ROI_HEAD
    ]


def _first(roi_head: Any, name: str) -> Any:
    """Return a part of a RoI head, that of the first stage of a cascade."""
    part = getattr(roi_head, name)
    return part[0] if isinstance(roi_head, CascadeRoIHead) else part


def _first_box_head(model: nn.Module, side: str) -> Any:
    """Return the box head that is compared, if it can be."""
    where = f'{_SIDES[side]}.{_ROI_HEAD}'
    fix = _ELSE.format(side=side)
    roi_head: Any = getattr(model, _ROI_HEAD, None)
    # Subclasses change how RoIs are made or read; exact types alone are sure.
    if type(roi_head) not in (StandardRoIHead, CascadeRoIHead):
        raise ConfigError(
            f'RoIs cannot be shared with the {side}',
            where=where,
            got=type(model if roi_head is None else roi_head).__name__,
            allowed=_FITTING,
            fix=fix,
        )
    if not roi_head.with_bbox:
        raise ConfigError(
            f'the RoI head of the {side} has no box head',
            where=f'{where}.bbox_head',
            fix=fix,
        )
    head = _first(roi_head, 'bbox_head')
    where += '.bbox_head'
    if isinstance(roi_head, CascadeRoIHead):
        where += '.0'
    if isinstance(head, _UNFIT) or not hasattr(head, 'fc_cls'):
        raise ConfigError(
            f'the box head of the {side} does not give one class prediction '
            'for each RoI from its feature alone',
            where=where,
            got=type(head).__name__,
            allowed='Shared2FCBBoxHead, ConvFCBBoxHead, BBoxHead, SABLHead '
            'and the like, with with_cls=True',
            fix=fix,
        )
    loss = head.loss_cls
    if getattr(loss, 'custom_cls_channels', False):
        raise ConfigError(
            f'the class predictions of the {side} are not one channel for '
            'each class and one for the background',
            where=f'{where}.loss_cls',
            got=type(loss).__name__,
            allowed='a loss without custom_cls_channels, such as '
            'CrossEntropyLoss',
            fix=fix,
        )
    return head


def _check_sources(
    model: nn.Module, sources: Sequence[str], side: str
) -> None:
    """Refuse recorders that would not hear the shared RoIs."""
    cascade = isinstance(model.roi_head, CascadeRoIHead)
    stage = '.0' if cascade else ''
    heard = [
        f'{_ROI_HEAD}.{name}'
        for name in (f'bbox_head{stage}', f'bbox_roi_extractor{stage}')
    ]
    if hasattr(model.roi_head, 'shared_head'):
        heard.append(f'{_ROI_HEAD}.shared_head')
    for source in sources:
        if not any(f'{source}.'.startswith(f'{name}.') for name in heard):
            raise ConfigError(
                f'a recorder listens to a part of the {side} that does not '
                'see the shared RoIs',
                where=f'model.distiller.{side}_recorders: source',
                got=source,
                allowed=', '.join(f'{name}[.*]' for name in heard),
                fix=f"set source='{heard[0]}.fc_cls' for class predictions",
            )
