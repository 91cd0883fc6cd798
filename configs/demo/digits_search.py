# python tools/train.py configs/demo/digits_search.py --checkpoint work_dirs/demo/epoch_80.pth --work-dir work_dirs/demo
_base_ = [
    '../_base_/nas_backbones/attentive_mobilenet_v3_digits.py',
    '../_base_/datasets/digits.py',
    '../_base_/default_runtime.py',
]

algorithm = dict(
    type='mmrazor_bignas.BigNAS',
    sampler=dict(type='mmrazor_bignas.SandwichSampler', num_random=2, seed=0),
    distillation=dict(type='mmrazor_bignas.KLDistillation'),
)

val_dataloader = dict(batch_size=256, num_workers=0, dataset={{_base_._search_set}})
val_evaluator = {{_base_._evaluator}}
val_cfg = dict(
    type='mmrazor_bignas.SearchLoop',
    strategy=dict(
        type='mmrazor_bignas.Evolution',
        population=16,
        parents=8,
        mutation_probability=0.15,
        crossover_share=0.5,
        seed=0,
    ),
    generations=8,
    constraints=dict(flops=(0, 6e5)),
    score='accuracy/top1',
    calibrate_dataloader=dict(batch_size=64, num_workers=0, dataset={{_base_._train_set}}),
    calibrate_sample_num=1024,
)
