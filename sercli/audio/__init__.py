"""Audio decoding, segmentation and preprocessing."""
