# python tools/train.py configs/studies/fashion_mnist/efficientnet.py --work-dir work_dirs/fashion_mnist/efficientnet
_base_ = './alone.py'

# Trained as a subnet alone. Its depth is halved, its width scaled to a budget.
algorithm = dict(
    _delete_=True,
    type='ImageClassifier',
    data_preprocessor=dict(mean=[73.0, 73.0, 73.0], std=[90.0, 90.0, 90.0]),
    backbone=dict(type='mmrazor_bignas.ScaledEfficientNet', width=0.16, depth=0.5),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=208,
        loss=dict(type='mmrazor_bignas.LabelSmoothCrossEntropy', label_smoothing=0.0),
    ),
)
custom_imports = dict(imports=['mmrazor_bignas.registry', 'mmrazor_bignas.study.baselines'])
