"""Show what the augmentation does and what the policy has learned."""

from mmtst.visualization.augmentation_grid import (
    View,
    describe_record,
    draw_grid,
    draw_view,
    to_picture,
)
from mmtst.visualization.policy_plots import (
    PolicyCurves,
    plot_all,
    plot_selected,
    policy_curves,
)

__all__ = [
    'PolicyCurves',
    'View',
    'describe_record',
    'draw_grid',
    'draw_view',
    'plot_all',
    'plot_selected',
    'policy_curves',
    'to_picture',
]
