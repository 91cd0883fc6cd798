# python tools/train.py configs/studies/fashion_mnist/mobilenet_v3.py --work-dir work_dirs/fashion_mnist/mobilenet_v3
_base_ = './alone.py'

# Trained as a subnet alone. Its width is scaled to a budget.
algorithm = dict(
    _delete_=True,
    type='ImageClassifier',
    data_preprocessor=dict(mean=[73.0, 73.0, 73.0], std=[90.0, 90.0, 90.0]),
    backbone=dict(type='mmrazor_bignas.ScaledMobileNetV3', width=0.4, norm_cfg=dict(type='BN', eps=1e-3, momentum=0.1)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=232,
        loss=dict(type='mmrazor_bignas.LabelSmoothCrossEntropy', label_smoothing=0.0),
    ),
)
custom_imports = dict(imports=['mmrazor_bignas.registry', 'mmrazor_bignas.study.baselines'])
