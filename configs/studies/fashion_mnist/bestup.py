# python tools/train.py configs/studies/fashion_mnist/bestup.py --work-dir work_dirs/fashion_mnist/bestup
_base_ = './supernet.py'

# The random subnets are the best of three (arXiv:2011.09011). Scoring costs 0.42 of the training: 139 epochs cost
# what 200 without it do.
algorithm = dict(
    sampler=dict(
        _delete_=True, type='mmrazor_bignas.BestUpSampler', num_random=2, num_candidates=3, bin_flops=5e4, seed=0
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=139, by_epoch=True, begin=0, end=139, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=139, val_interval=139)
