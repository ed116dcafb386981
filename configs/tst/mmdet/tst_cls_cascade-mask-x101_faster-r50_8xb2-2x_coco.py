"""TST with KD on COCO: Cascade Mask R-CNN-X101-64x4d -> Faster R-CNN-R50.

Table 3 of the paper ("Ours (KD)"): AP 40.5, against 38.4 of the student alone
and 39.7 of KD. The teacher judges the RoIs that the student has sampled, with
the first stage of its cascade; its mask head is left out once it is loaded.
The reference code's run was in half precision: ``tools/train.py --amp``.
"""

_base_ = [
    '../../_base_/methods/tst_coco.py',
    '../../_base_/distillers/two_stage.py',
]

model = dict(
    architecture=dict(
        cfg_path='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
    ),
    teacher=dict(
        cfg_path='mmdet::cascade_rcnn/'
        'cascade-mask-rcnn_x101-64x4d_fpn_20e_coco.py',
        cfg_options=dict(backbone=dict(init_cfg=None)),
    ),
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v2.0/'
    'cascade_rcnn/cascade_mask_rcnn_x101_64x4d_fpn_20e_coco/'
    'cascade_mask_rcnn_x101_64x4d_fpn_20e_coco_20200512_161033-bdb5126a.pth',
    distiller={{_base_.cascade_kd_distiller}},
)
optim_wrapper = dict(optimizer=dict(lr=0.02))
