"""Run a teacher on images that were made for its student."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.model import BaseModel
from mmpretrain.models import ImageClassifier
from mmseg.models.decode_heads import PointHead
from torch import Tensor, nn

from mmtst.augmentation import ImageSpace
from mmtst.models.algorithms.samples import valid_sizes
from mmtst.models.algorithms.shared_rois import SharedRoIs
from mmtst.utils.errors import ConfigError


class TeacherPass:
    """Give a teacher its own normalization, and run what is needed of it.

    Args:
        teacher: The teacher.
        preprocessor: The student's data preprocessor.
        sources: Names of the teacher's modules that are recorded; a head is
            run only where one lies beyond backbone and neck. ``None`` stands
            for a function or method: all of the teacher is run.
        shared_rois: Gives a two-stage teacher the RoIs that it is to judge,
            where its RoI head is recorded; its own proposals are not made.

    Raises:
        ConfigError: A recorded head of a segmentor cannot be compared.
    """

    def __init__(
        self,
        teacher: BaseModel,
        preprocessor: Any,
        sources: Sequence[str | None],
        shared_rois: SharedRoIs | None = None,
    ) -> None:
        self.teacher = teacher
        self._shared_rois = shared_rois
        self._given = ImageSpace.from_preprocessor(preprocessor)
        self._wanted = ImageSpace.from_preprocessor(teacher.data_preprocessor)
        modules = [source for source in sources if source is not None]
        self._modules = modules
        self._needs_all = len(modules) < len(sources)
        self._needed = {source.split('.')[0] for source in modules}
        self._stages = _cascade_stages(teacher, modules)

    def listening(self) -> AbstractContextManager[None]:
        """Return a context for a step: the student, then :meth:`run`."""
        if self._shared_rois is None:
            return nullcontext()
        return self._shared_rois.listening()

    def inputs(self, inputs: Tensor, samples: Sequence[Any]) -> Tensor:
        """Normalize images as the teacher expects them.

        Args:
            inputs: (B, 3, H, W), normalized for the student.
            samples: Say what of each image is valid; the rest is set to 0,
                which is what padding is for a preprocessor.

        Returns:
            (B, 3, H, W); the same tensor where nothing differs.
        """
        if self._given == self._wanted:
            return inputs
        images = self._wanted.to_network(self._given.to_raw(inputs))
        height, width = inputs.shape[-2:]
        sizes = valid_sizes(inputs, samples)
        rows = torch.arange(height, device=inputs.device) < sizes[:, :1]
        columns = torch.arange(width, device=inputs.device) < sizes[:, 1:]
        valid = rows[:, None, :, None] & columns[:, None, None, :]
        return images * valid

    @torch.no_grad()
    def run(self, inputs: Tensor, samples: Sequence[Any]) -> None:
        """Run of the teacher what the recorders listen to, and no more.

        Args:
            inputs: (B, 3, H, W), normalized for the student.
            samples: The B samples.
        """
        images = self.inputs(inputs, samples)
        if self._needs_all or not hasattr(self.teacher, 'extract_feat'):
            self.teacher(images, samples, mode='tensor')
            return
        features = self.teacher.extract_feat(images)
        if self._needed <= {'backbone', 'neck'}:
            return
        if hasattr(self.teacher, 'decode_head'):
            self._segment(features)
        elif isinstance(self.teacher, ImageClassifier):
            # Called, not `.forward`: recorders are forward hooks.
            self.teacher.head(features)
        elif hasattr(self.teacher, 'bbox_head'):
            self.teacher.bbox_head(features)
        elif hasattr(self.teacher, 'roi_head') and (
            'rpn_head' in self._needed or self._shared_rois is not None
        ):
            if 'rpn_head' in self._needed:
                self.teacher.rpn_head(features)
            if self._shared_rois is not None:
                self._shared_rois.evaluate(features)
        else:
            self.teacher(images, samples, mode='tensor')

    def _segment(self, features: Sequence[Tensor]) -> None:
        """Run those of a segmentor's heads that are recorded.

        Of a cascade each head refines what the one before has given, up to
        the last that is recorded.
        """
        decode = self.teacher.decode_head
        if not isinstance(decode, nn.ModuleList):
            if 'decode_head' in self._needed:
                decode(features)
        else:
            logits: list[Tensor] = []
            for head in decode[: self._stages]:
                logits = [head(features, *logits)]
        auxiliary: Any = getattr(self.teacher, 'auxiliary_head', None)
        if isinstance(auxiliary, nn.ModuleList):
            for index, head in enumerate(auxiliary):
                if self._records(f'auxiliary_head.{index}'):
                    head(features)
        elif self._records('auxiliary_head'):
            auxiliary(features)

    def _records(self, name: str) -> bool:
        """Tell whether a module, a part of it or all around it is recorded."""
        return any(
            f'{source}.'.startswith(f'{name}.')
            or f'{name}.'.startswith(f'{source}.')
            for source in self._modules
        )


def _cascade_stages(teacher: nn.Module, sources: Sequence[str]) -> int:
    """Return how many heads of a cascade have to run.

    Raises:
        ConfigError: One judges points, which teacher and student would choose
            each for itself.
    """
    heads = getattr(teacher, 'decode_head', None)
    if not isinstance(heads, nn.ModuleList):
        return 0
    stages = [
        int(source.split('.')[1]) + 1 if '.' in source else len(heads)
        for source in sources
        if source.split('.')[0] == 'decode_head'
    ]
    needed = max(stages, default=0)
    for index, head in enumerate(heads[:needed]):
        if isinstance(head, PointHead):
            raise ConfigError(
                'a point head judges points, which teacher and student '
                'choose each for itself: they cannot be compared',
                where='model.distiller.teacher_recorders: source',
                got=f'decode_head.{index} ({type(head).__name__})',
                allowed='a head that judges all pixels',
                fix="set source='decode_head.0.conv_seg'",
            )
    return needed
