"""Hold what travels with the images of a batch."""

from mmtst.structures.label_batch import LabelBatch, num_images

__all__ = ['LabelBatch', 'num_images']
