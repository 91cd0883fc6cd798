# sh tools/slurm_train.sh $PARTITION $JOB_NAME configs/nas/mmcls/bignas/bignas_supernet_64xb64_in1k.py $WORK_DIR
# BigNAS's own recipe (arXiv:2003.11142, section 4.1): its space, RMSProp, exponential decay with a constant ending. Dropout
# and weight decay act on the largest subnet only, the last gamma of each block starts at 0: so does the base config.
_base_ = ['./attentive_mobilenet_supernet_32xb64_in1k.py', '../../../_base_/nas_backbones/bignas_supernet.py']

# The crop stays at 224, as AttentiveNAS's does; a subnet resizes it, up to 320.
algorithm = dict(
    architecture=dict(
        backbone=dict(search_space={{_base_._search_space}}, drop_path_rate=0.0),  # dropout alone is named
    ),
)
optim_wrapper = dict(
    # Assumed, from EfficientNet's training: decay 0.9, momentum 0.9, epsilon 0.001. TensorFlow adds epsilon below the root
    # of the mean square, torch beside it: there it is the root of 0.001.
    optimizer=dict(_delete_=True, type='RMSprop', lr=0.256, alpha=0.9, momentum=0.9, eps=0.001**0.5, weight_decay=1e-5),
)
param_scheduler = [
    # Assumed: a warm-up like the base config's, and its 360 epochs. The paper states neither.
    dict(
        type='mmrazor_bignas.LinearWarmupLR',
        start_factor=0.001,
        by_epoch=True,
        begin=0,
        end=5,
        convert_to_iter_based=True,
    ),
    dict(
        type='mmrazor_bignas.ExponentialDecayLR',
        gamma=0.97,
        period=2.4,
        floor=0.05,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=4096)
