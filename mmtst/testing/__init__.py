"""Offer what tests are made of, here and in packages built on this one.

``detection`` is not imported here: it needs mmdet.
"""

from mmtst.testing.encoder_contract import EncoderContract

__all__ = ['EncoderContract']
