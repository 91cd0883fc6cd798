# sh tools/slurm_train.sh $PARTITION $JOB_NAME configs/nas/mmcls/bignas/bignas_search_8xb128_in1k.py --checkpoint $STEP1_CKPT --work-dir $WORK_DIR
_base_ = ['./attentive_mobilenet_search_8xb128_in1k.py', '../../../_base_/nas_backbones/bignas_supernet.py']

algorithm = dict(architecture=dict(backbone=dict(search_space={{_base_._search_space}}, drop_path_rate=0.0)))
# BigNAS's selection (section 3.4): skeletons first, then mutations of the best one.
val_cfg = dict(strategy=dict(_delete_=True, type='mmrazor_bignas.CoarseToFine', population=100, seed=0))
