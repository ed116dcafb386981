"""TST with KD and mimic on COCO: FCOS-R101 -> FCOS-R50.

Table 3 of the paper ("Ours (KD+mimic)"): AP 41.0.
"""

_base_ = './tst_cls_fcos-r101_fcos-r50_8xb2-2x_coco.py'

model = dict(distiller={{_base_.kd_mimic_distiller}})
