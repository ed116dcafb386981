"""Distillers of two-stage detectors that compare class predictions.

Those of ``single_stage.py``, on the class scores of the box heads,
(RoIs, classes + 1), for the RoIs that the student has sampled. Of a cascade
the first stage counts: for a teacher (or a student) with one, change the
source, as ``pairs/coco_faster_rcnn.py`` does.
"""

_base_ = './single_stage.py'

_box_head = dict(head=dict(source='roi_head.bbox_head.fc_cls'))
_box_heads = dict(student_recorders=_box_head, teacher_recorders=_box_head)
_whole = dict(preds_S=dict(data_idx=None), preds_T=dict(data_idx=None))
_kl_of_rois = dict(loss_forward_mappings=dict(loss_kl=_whole))
_dist_of_rois = dict(loss_forward_mappings=dict(loss_dist=_whole))

kd_distiller = dict(**_box_heads, **_kl_of_rois)
kd_mimic_distiller = dict(**_box_heads, **_kl_of_rois)
dist_distiller = dict(**_box_heads, **_dist_of_rois)
dist_mimic_distiller = dict(**_box_heads, **_dist_of_rois)
