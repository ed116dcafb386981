"""The small FCOS pair under TST."""

_base_ = ['./options.py', '../../distillers/single_stage.py']

model = dict(
    _scope_='mmrazor',
    type='mmtst.TSTDistill',
    architecture=dict(
        cfg_path='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        cfg_options={{_base_.student_options}},
    ),
    teacher=dict(
        cfg_path='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        cfg_options={{_base_.teacher_options}},
    ),
    distiller={{_base_.kd_distiller}},
    augmentation=dict(type='mmtst.AugmentationEncoder', num_operators=4),
    objective=dict(type='mmtst.GapObjective'),
)
