# python tools/train.py configs/studies/fashion_mnist/bestup.py --work-dir work_dirs/fashion_mnist/bestup
_base_ = './supernet.py'

# The random subnets are the best of three (arXiv:2011.09011). Scoring costs a third of the training: 6 epochs cost a
# little more than 8 without it.
algorithm = dict(
    sampler=dict(
        _delete_=True, type='mmrazor_bignas.BestUpSampler', num_random=2, num_candidates=3, bin_flops=1e5, seed=0
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=6, by_epoch=True, begin=0, end=6, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=6, val_interval=6)
