# python tools/test.py configs/demo/digits_subnet.py work_dirs/demo/best_subnet.pth --cfg-options algorithm.mutable_cfg=work_dirs/demo/best_subnet.yaml
_base_ = [
    '../_base_/nas_backbones/attentive_mobilenet_v3_digits.py',
    '../_base_/datasets/digits.py',
    '../_base_/default_runtime.py',
]

algorithm = dict(type='mmrazor_bignas.Subnet', mutable_cfg='min')

test_dataloader = dict(batch_size=256, num_workers=0, dataset={{_base_._test_set}})
test_evaluator = {{_base_._evaluator}}
test_cfg = dict(
    type='mmrazor_bignas.SubnetTestLoop',
    calibrate_dataloader=dict(batch_size=64, num_workers=0, dataset={{_base_._train_set}}),
    calibrate_sample_num=1024,
)
