# What every run has in common.
custom_imports = dict(imports=['mmrazor_bignas.registry'], allow_failed_imports=False)
default_scope = 'mmcls'
default_hooks = dict(
    runtime_info=dict(type='mmrazor_bignas.LossHook'),
    logger=dict(type='LoggerHook', interval=100, log_metric_by_epoch=False),
    checkpoint=dict(type='mmrazor_bignas.CheckpointHook', interval=1, max_keep_ckpts=2),
)
custom_hooks = [
    dict(type='mmrazor_bignas.LabelCheckHook'),
    dict(type='mmrazor_bignas.ProgressBarHook'),
    dict(type='mmrazor_bignas.LearningCurveHook'),
]
# Means of the last 10 steps; the default, and the accuracies of training batches.
log_processor = dict(mean_pattern=r'loss|time|grad_norm|^[^/]+/top1$')
model_wrapper_cfg = dict(type='mmrazor_bignas.SandwichDistributedDataParallel')
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
log_level = 'INFO'
randomness = dict(seed=0)
