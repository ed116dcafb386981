"""The small Faster R-CNN pair under KD.

Student and teacher have to judge the same RoIs, which mmrazor's own algorithm
does not see to: ours does, with both views the original.
"""

_base_ = './tst.py'

model = dict(policy='off')
