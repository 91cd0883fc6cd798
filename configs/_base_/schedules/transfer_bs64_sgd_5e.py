# For weights that another data set trained: few epochs, and a lower learning rate for all but the new head. Weights that
# learnt from many images, as ImageNet's, want lower ones yet.
optim_wrapper = dict(
    type='mmrazor_bignas.OptimWrapper',
    constructor='mmrazor_bignas.GroupedOptimWrapperConstructor',
    # The rate of the backbone. Its normalisation and biases do not decay; a custom key for it would undo that.
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={'head.fc': dict(lr_mult=3)}),
    clip_grad=dict(type='value', clip_value=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=5, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=5, val_interval=5)
auto_scale_lr = dict(base_batch_size=64)
