"""TST with KD and mimic on COCO: RetinaNet-X101-64x4d -> RetinaNet-R50.

Table 3 of the paper ("Ours (KD+mimic)"): AP 40.5.
"""

_base_ = './tst_cls_retina-x101_retina-r50_8xb2-2x_coco.py'

model = dict(distiller={{_base_.kd_mimic_distiller}})
