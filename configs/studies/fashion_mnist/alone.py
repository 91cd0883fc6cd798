# python tools/train.py configs/studies/fashion_mnist/alone.py --work-dir work_dirs/fashion_mnist/alone --cfg-options algorithm.mutable_cfg=SUBNET.yaml
_base_ = [
    '../../_base_/nas_backbones/attentive_mobilenet_v3_fashion_mnist.py',
    '../../_base_/datasets/fashion_mnist.py',
    '../../_base_/schedules/fashion_mnist_bs64_sgd_200e.py',
    '../../_base_/default_runtime.py',
]

# One subnet from new weights: the same epochs and augmentation as the supernet's. As in the supernet, only the largest
# has dropout.
algorithm = dict(
    type='mmrazor_bignas.Subnet',
    mutable_cfg='min',
    architecture=dict(head=dict(dropout=0.0)),
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset={{_base_._train_set}},
)

# Nothing is chosen by it: it is evaluated once, after the last epoch.
val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset={{_base_._test_set}},
)
val_evaluator = {{_base_._evaluator}}
val_cfg = dict()
default_hooks = dict(logger=dict(interval=46), checkpoint=dict(interval=10, max_keep_ckpts=1))
