# sh tools/slurm_train.sh $PARTITION $JOB_NAME configs/nas/mmcls/bignas/attentive_mobilenet_supernet_32xb64_in1k.py $WORK_DIR
_base_ = [
    '../../../_base_/nas_backbones/attentive_mobilenet_v3_supernet.py',
    '../../../_base_/datasets/imagenet.py',
    '../../../_base_/schedules/imagenet_bs2048_sgd_360e.py',
    '../../../_base_/default_runtime.py',
]

algorithm = dict(
    type='mmrazor_bignas.BigNAS',
    sampler=dict(type='mmrazor_bignas.SandwichSampler', num_random=2, seed=0),
    distillation=dict(type='mmrazor_bignas.KLDistillation'),
)

train_dataloader = dict(
    batch_size=64,
    num_workers=5,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset={{_base_._train_set}},
)

# While training, the extremes and some others are evaluated on the held-out part of the training images.
val_dataloader = dict(batch_size=256, num_workers=5, dataset={{_base_._search_set}})
val_evaluator = {{_base_._evaluator}}
val_cfg = dict(
    type='mmrazor_bignas.SubnetValLoop',
    subnets=['min', 'max'],
    num_random=2,
    calibrate_dataloader=dict(
        batch_size=256, num_workers=5, collate_fn=dict(type='default_collate'), dataset={{_base_._train_set}}
    ),
    calibrate_sample_num=16384,
)
