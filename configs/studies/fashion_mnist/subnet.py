# python tools/test.py configs/studies/fashion_mnist/subnet.py work_dirs/fashion_mnist/supernet/epoch_200.pth --cfg-options algorithm.mutable_cfg=max
_base_ = [
    '../../_base_/nas_backbones/attentive_mobilenet_v3_fashion_mnist.py',
    '../../_base_/datasets/fashion_mnist.py',
    '../../_base_/default_runtime.py',
]

algorithm = dict(type='mmrazor_bignas.Subnet', mutable_cfg='min')

test_dataloader = dict(batch_size=256, num_workers=0, dataset={{_base_._test_set}})
test_evaluator = {{_base_._evaluator}}
test_cfg = dict(
    type='mmrazor_bignas.SubnetTestLoop',
    calibrate_dataloader=dict(batch_size=64, num_workers=0, dataset={{_base_._train_set}}),
    calibrate_sample_num=2944,
)
