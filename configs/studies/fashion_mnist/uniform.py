# python tools/train.py configs/studies/fashion_mnist/uniform.py --work-dir work_dirs/fashion_mnist/uniform
_base_ = './supernet.py'

# Four random subnets a step, which learn the labels: no sandwich and no teacher (arXiv:1904.00420). 225 epochs cost
# about what 200 of the sandwich do.
algorithm = dict(
    sampler=dict(_delete_=True, type='mmrazor_bignas.UniformSampler', num_random=4, seed=0),
    distillation=None,
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=225, by_epoch=True, begin=0, end=225, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=225, val_interval=225)
