# python tools/train.py configs/demo/digits_supernet.py --work-dir work_dirs/demo
_base_ = [
    '../_base_/nas_backbones/attentive_mobilenet_v3_digits.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/digits_bs64_sgd.py',
    '../_base_/default_runtime.py',
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
    num_random=1,
    calibrate_dataloader=dict(batch_size=64, num_workers=0, dataset={{_base_._train_set}}),
    calibrate_sample_num=1024,
)
default_hooks = dict(logger=dict(interval=32), checkpoint=dict(interval=10, max_keep_ckpts=1))
