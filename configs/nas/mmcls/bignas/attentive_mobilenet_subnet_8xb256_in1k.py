# sh tools/slurm_test.sh $PARTITION $JOB_NAME configs/nas/mmcls/bignas/attentive_mobilenet_subnet_8xb256_in1k.py $STEP2_CKPT --work-dir $WORK_DIR --eval accuracy --cfg-options algorithm.mutable_cfg=$STEP2_SUBNET_YAML
_base_ = [
    '../../../_base_/nas_backbones/attentive_mobilenet_v3_supernet.py',
    '../../../_base_/datasets/imagenet.py',
    '../../../_base_/default_runtime.py',
]

# A YAML path, 'min', 'max' or 'attentivenas-a0' to 'attentivenas-a6'.
algorithm = dict(type='mmrazor_bignas.Subnet', mutable_cfg='attentivenas-a0')

test_dataloader = dict(batch_size=256, num_workers=5, dataset={{_base_._test_set}})
test_evaluator = {{_base_._evaluator}}
test_cfg = dict(
    type='mmrazor_bignas.SubnetTestLoop',
    # A supernet's checkpoint is calibrated; an exported subnet's has its own statistics.
    calibrate_dataloader=dict(
        batch_size=256, num_workers=5, collate_fn=dict(type='default_collate'), dataset={{_base_._train_set}}
    ),
    calibrate_sample_num=16384,
)
