# python tools/train.py configs/studies/fashion_mnist/supernet.py --work-dir work_dirs/fashion_mnist/supernet
_base_ = [
    '../../_base_/nas_backbones/attentive_mobilenet_v3_fashion_mnist.py',
    '../../_base_/datasets/fashion_mnist.py',
    '../../_base_/schedules/fashion_mnist_bs64_sgd_200e.py',
    '../../_base_/default_runtime.py',
]

algorithm = dict(
    type='mmrazor_bignas.BigNAS',
    sampler=dict(type='mmrazor_bignas.SandwichSampler', num_random=2, seed=0),
    distillation=dict(type='mmrazor_bignas.KLDistillation'),
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset={{_base_._train_set}},
)

val_dataloader = dict(batch_size=256, num_workers=0, dataset={{_base_._search_set}})
val_evaluator = {{_base_._evaluator}}
val_cfg = dict(
    type='mmrazor_bignas.SubnetValLoop',
    subnets=['min', 'max'],
    calibrate_dataloader=dict(batch_size=64, num_workers=0, dataset={{_base_._train_set}}),
    calibrate_sample_num=2944,
)
default_hooks = dict(logger=dict(interval=46), checkpoint=dict(interval=10, max_keep_ckpts=1))
