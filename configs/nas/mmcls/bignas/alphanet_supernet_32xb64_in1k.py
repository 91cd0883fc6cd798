# sh tools/slurm_train.sh $PARTITION $JOB_NAME configs/nas/mmcls/bignas/alphanet_supernet_32xb64_in1k.py $WORK_DIR
# AlphaNet (arXiv:2102.07954): the adaptive alpha divergence in the place of in-place distillation's cross entropy.
_base_ = './attentive_mobilenet_supernet_32xb64_in1k.py'

algorithm = dict(
    distillation=dict(type='mmrazor_bignas.AdaptiveAlphaDistillation', alpha_min=-1.0, alpha_max=1.0, clip=5.0)
)
