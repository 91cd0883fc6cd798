# python tools/train.py configs/transfer/fashion_mnist_subnet.py --checkpoint work_dirs/demo/best_subnet.pth --new-head --work-dir work_dirs/transfer_subnet --cfg-options algorithm.mutable_cfg=work_dirs/demo/best_subnet.yaml
# A subnet of the digits goes on with Fashion-MNIST. For images of your own change the data set, num_classes, mean and std.
_base_ = [
    '../_base_/nas_backbones/attentive_mobilenet_v3_digits.py',
    '../_base_/datasets/fashion_mnist.py',
    '../_base_/schedules/transfer_bs64_sgd_5e.py',
    '../_base_/default_runtime.py',
]

algorithm = dict(
    type='mmrazor_bignas.Subnet',
    mutable_cfg='max',
    architecture=dict(
        data_preprocessor=dict(mean=[73.0, 73.0, 73.0], std=[90.0, 90.0, 90.0]),
        # frozen_stages: 0 keeps the stem as it is, k the first k stages, too. norm_eval: True keeps the running
        # statistics of batch normalisation, which suits small batches and images much like those before.
        backbone=dict(frozen_stages=-1, norm_eval=False, drop_path_rate=0.0),
        head=dict(num_classes=10, dropout=0.0),
    ),
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset={{_base_._train_set}},
)

val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset={{_base_._search_set}},
)
val_evaluator = {{_base_._evaluator}}
val_cfg = dict()
default_hooks = dict(logger=dict(interval=46), checkpoint=dict(max_keep_ckpts=1))
