"""Make small data sets and look after the paths of others."""

from mmtst.datasets.annotations import check_annotations
from mmtst.datasets.data_paths import (
    check_data,
    iter_datasets,
    set_data_root,
)
from mmtst.datasets.shapes import (
    SHAPE_CLASSES,
    SHAPE_PALETTE,
    Scene,
    SceneObject,
    draw_scene,
)
from mmtst.datasets.shapes_writer import ShapesSettings, write_shapes

__all__ = [
    'SHAPE_CLASSES',
    'SHAPE_PALETTE',
    'Scene',
    'SceneObject',
    'ShapesSettings',
    'check_annotations',
    'check_data',
    'draw_scene',
    'iter_datasets',
    'set_data_root',
    'write_shapes',
]
