# sh tools/slurm_train.sh $PARTITION $JOB_NAME configs/nas/mmcls/bignas/attentivenas_bestup_supernet_32xb64_in1k.py $WORK_DIR
# AttentiveNAS (arXiv:2011.09011): of 3 candidates of about equal FLOPs the one that does best on the batch is trained.
_base_ = './attentive_mobilenet_supernet_32xb64_in1k.py'

algorithm = dict(sampler=dict(type='mmrazor_bignas.BestUpSampler', num_candidates=3, bin_flops=25e6))
