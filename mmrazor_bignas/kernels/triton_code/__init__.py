"""The kernels themselves. Imported only where they run: Triton need not be installed elsewhere.

All take features in channels_last, as rows of channels: (N, C, H, W) lies in memory as (N * H * W, C).
"""
