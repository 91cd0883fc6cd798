# sh tools/slurm_train.sh $PARTITION $JOB_NAME configs/nas/mmcls/bignas/attentive_mobilenet_search_8xb128_in1k.py --checkpoint $STEP1_CKPT --work-dir $WORK_DIR
_base_ = [
    '../../../_base_/nas_backbones/attentive_mobilenet_v3_supernet.py',
    '../../../_base_/datasets/imagenet.py',
    '../../../_base_/default_runtime.py',
]

algorithm = dict(
    type='mmrazor_bignas.BigNAS',
    sampler=dict(type='mmrazor_bignas.SandwichSampler', num_random=2, seed=0),
    distillation=dict(type='mmrazor_bignas.KLDistillation'),
)

# A search is a validation loop over many subnets: 20 generations of 100 candidates below 700 M multiply-adds.
val_dataloader = dict(batch_size=128, num_workers=5, dataset={{_base_._search_set}})
val_evaluator = {{_base_._evaluator}}
val_cfg = dict(
    type='mmrazor_bignas.SearchLoop',
    # Or NSGA2, for the best score at every cost in one search; CoarseToFine, BigNAS's own selection; RandomSearch.
    strategy=dict(type='mmrazor_bignas.Evolution', population=100, seed=0),
    generations=20,
    constraints=dict(flops=(0, 700e6)),
    score='accuracy/top1',
    calibrate_dataloader=dict(
        batch_size=256, num_workers=5, collate_fn=dict(type='default_collate'), dataset={{_base_._train_set}}
    ),
    # As in the test, so that a score is what the test's calibration gives.
    calibrate_sample_num=16384,
)
