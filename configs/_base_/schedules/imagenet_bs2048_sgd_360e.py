# AttentiveNAS's recipe: 0.1 x (total batch / 256), linear warm-up over 5 epochs times a cosine, per iteration.
optim_wrapper = dict(
    type='mmrazor_bignas.OptimWrapper',
    constructor='mmrazor_bignas.GroupedOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.8, momentum=0.9, nesterov=True, weight_decay=1e-5, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    clip_grad=dict(type='value', clip_value=1.0),
)
param_scheduler = [
    dict(
        type='mmrazor_bignas.LinearWarmupLR',
        start_factor=0.001,
        by_epoch=True,
        begin=0,
        end=5,
        convert_to_iter_based=True,
    ),
    dict(type='CosineAnnealingLR', T_max=360, by_epoch=True, begin=0, end=360, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=360, val_interval=10)
auto_scale_lr = dict(base_batch_size=2048)
