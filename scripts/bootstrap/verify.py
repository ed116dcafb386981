"""Import what matters and show the versions; run by the new environment."""

from __future__ import annotations

import importlib
import sys
import traceback
from importlib import metadata

from scripts.bootstrap.pins import read_pins

# mmtst first: it makes mmrazor importable.
MODULES = (
    'mmtst',
    'torchvision.ops',
    'cv2',
    'mmcv.ops',
    'mmdet.models',
    'mmseg.models',
    'mmpretrain.models',
    'mmrazor.models',
    'mmtst.registry',
)
SHOWN = (
    'torch',
    'torchvision',
    'mmengine',
    'mmcv',
    'mmdet',
    'mmsegmentation',
    'mmpretrain',
    'mmrazor',
    'numpy',
    'opencv-python-headless',
    'mmtst',
)


def main() -> int:
    """Import all, run one compiled operator each, print the table."""
    for name in MODULES:
        print(f'import {name}', flush=True)
        try:
            importlib.import_module(name)
        except Exception:
            traceback.print_exc()
            return 1
    _check_operators()
    print(_make_table())
    return 0


def _check_operators() -> None:
    import torch
    from mmcv.ops import nms as nms_of_mmcv
    from torchvision.ops import nms as nms_of_torchvision

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    kept = nms_of_torchvision(boxes, scores, 0.5)
    _, kept_by_mmcv = nms_of_mmcv(boxes, scores, 0.5)
    if not torch.equal(kept, kept_by_mmcv):
        raise RuntimeError(
            f'nms of torchvision and mmcv: {kept}, {kept_by_mmcv}'
        )


def _make_table() -> str:
    import torch

    pins = read_pins()
    rows = [('package', 'installed', 'tested with')]
    rows.append(('python', sys.version.split()[0], '3.10 - 3.12'))
    for name in SHOWN:
        rows.append((name, metadata.version(name), pins.get(name, '-')))
    cuda = torch.version.cuda or 'none'
    rows.append(('CUDA of torch', cuda, '-'))
    rows.append(('GPU', 'yes' if torch.cuda.is_available() else 'no', '-'))
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return '\n'.join(
        f'{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}'
        for row in rows
    )


if __name__ == '__main__':
    sys.exit(main())
