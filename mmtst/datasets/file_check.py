"""Check all files that the data sets of a config read."""

from __future__ import annotations

from mmengine.config import Config

from mmtst.datasets.annotations import inspect_annotations
from mmtst.datasets.data_paths import SUBSETS
from mmtst.datasets.findings import refuse_worst
from mmtst.datasets.image_sets import inspect_image_sets
from mmtst.datasets.label_maps import inspect_label_maps


def check_files(
    cfg: Config, subsets: tuple[str, ...] = SUBSETS, *, every: bool = False
) -> list[str]:
    """Check annotations, images and label maps before a training.

    Args:
        cfg: The config.
        subsets: Which of ``train``, ``val``, ``test`` will be read.
        every: Whether to look into all images and label maps instead of a
            sample.

    Returns:
        What is no reason to refuse it, as lines for the log: what will be
        dropped, and how many.

    Raises:
        ConfigError: A training would stop, be pointless or go wrong.
    """
    findings = inspect_annotations(cfg, subsets, every=every).findings
    findings += inspect_image_sets(cfg, subsets, every=every)
    findings += inspect_label_maps(cfg, subsets, whole=every).findings
    refuse_worst(findings)
    return [finding.note() for finding in findings]
