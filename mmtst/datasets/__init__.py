"""Make small data sets, load others fast, look after the paths of all."""

from mmtst.datasets.annotations import check_annotations
from mmtst.datasets.cifar100 import CIFAR100
from mmtst.datasets.collate import keep_batch
from mmtst.datasets.data_paths import (
    check_data,
    iter_datasets,
    set_data_root,
)
from mmtst.datasets.digits import write_digits
from mmtst.datasets.file_check import check_files
from mmtst.datasets.label_maps import check_label_maps
from mmtst.datasets.shapes import (
    SHAPE_CLASSES,
    SHAPE_PALETTE,
    Scene,
    SceneObject,
    draw_scene,
)
from mmtst.datasets.shapes_writer import ShapesSettings, write_shapes

__all__ = [
    'CIFAR100',
    'SHAPE_CLASSES',
    'SHAPE_PALETTE',
    'Scene',
    'SceneObject',
    'ShapesSettings',
    'check_annotations',
    'check_data',
    'check_files',
    'check_label_maps',
    'draw_scene',
    'iter_datasets',
    'keep_batch',
    'set_data_root',
    'write_digits',
    'write_shapes',
]
