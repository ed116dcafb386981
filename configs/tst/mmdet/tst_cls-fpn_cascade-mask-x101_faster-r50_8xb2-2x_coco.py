"""TST with KD and mimic on COCO: Cascade Mask R-CNN-X101 -> Faster R-CNN-R50.

Table 3 of the paper ("Ours (KD+mimic)"): AP 42.2. The reference code's run was
in single precision.
"""

_base_ = './tst_cls_cascade-mask-x101_faster-r50_8xb2-2x_coco.py'

model = dict(distiller={{_base_.kd_mimic_distiller}})
