# For the study: 200 epochs of 46 steps.
optim_wrapper = dict(
    type='mmrazor_bignas.OptimWrapper',
    constructor='mmrazor_bignas.GroupedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(type='value', clip_value=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=200, by_epoch=True, begin=0, end=200, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=200)
auto_scale_lr = dict(base_batch_size=64)
