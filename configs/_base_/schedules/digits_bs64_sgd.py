# A short schedule for a small data set on a CPU.
optim_wrapper = dict(
    type='mmrazor_bignas.OptimWrapper',
    constructor='mmrazor_bignas.GroupedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(type='value', clip_value=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=4, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=80, by_epoch=True, begin=0, end=80, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=80, val_interval=20)
auto_scale_lr = dict(base_batch_size=64)
