# sh tools/slurm_test.sh $PARTITION $JOB_NAME configs/nas/mmcls/bignas/bignas_subnet_8xb256_in1k.py $STEP2_CKPT --work-dir $WORK_DIR --eval accuracy --cfg-options algorithm.mutable_cfg=$STEP2_SUBNET_YAML
_base_ = ['./attentive_mobilenet_subnet_8xb256_in1k.py', '../../../_base_/nas_backbones/bignas_supernet.py']

algorithm = dict(
    mutable_cfg='min',
    architecture=dict(backbone=dict(search_space={{_base_._search_space}}, drop_path_rate=0.0)),
)
