# python tools/train.py configs/transfer/fashion_mnist_supernet.py --checkpoint work_dirs/demo/epoch_30.pth --new-head --work-dir work_dirs/transfer_supernet
# The supernet of the digits goes on with Fashion-MNIST. For images of your own change the data set, num_classes, mean and
# std. A supernet has no running statistics, so norm_eval is not for it; frozen_stages is.
_base_ = [
    '../_base_/nas_backbones/attentive_mobilenet_v3_digits.py',
    '../_base_/datasets/fashion_mnist.py',
    '../_base_/schedules/transfer_bs64_sgd_5e.py',
    '../_base_/default_runtime.py',
]

algorithm = dict(
    type='mmrazor_bignas.BigNAS',
    sampler=dict(type='mmrazor_bignas.SandwichSampler', num_random=2, seed=0),
    distillation=dict(type='mmrazor_bignas.KLDistillation'),
    architecture=dict(
        data_preprocessor=dict(mean=[73.0, 73.0, 73.0], std=[90.0, 90.0, 90.0]),
        backbone=dict(frozen_stages=-1),
        head=dict(num_classes=10),
    ),
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
default_hooks = dict(logger=dict(interval=46), checkpoint=dict(max_keep_ckpts=1))
