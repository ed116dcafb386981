"""Hold what travels with the images of a batch."""

from mmtst.structures.label_batch import LabelBatch

__all__ = ['LabelBatch']
