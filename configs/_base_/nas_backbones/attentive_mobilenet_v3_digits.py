# The same classes with a small search space for 32 x 32 images: 3,359,232 subnets, from 0.007 to 2.6 M multiply-adds.
algorithm = dict(
    architecture=dict(
        type='mmrazor_bignas.SearchableImageClassifier',
        data_preprocessor=dict(mean=[77.5, 77.5, 77.5], std=[96.0, 96.0, 96.0]),
        backbone=dict(
            type='mmrazor_bignas.AttentiveMobileNetV3',
            drop_path_rate=0.1,
            drop_path_stages=2,
            search_space=dict(
                resolution=[4, 8, 12, 16, 24, 32],
                stem=[8, 16],
                stages=[
                    dict(
                        name='mb1',
                        width=[8, 16],
                        depth=[1, 2],
                        kernel_size=[3, 5],
                        expand_ratio=[1],
                        stride=1,
                        se=False,
                    ),
                    dict(
                        name='mb2',
                        width=[8, 16, 24],
                        depth=[1, 2],
                        kernel_size=[3, 5],
                        expand_ratio=[2, 3, 4],
                        stride=2,
                        se=False,
                    ),
                    dict(
                        name='mb3',
                        width=[8, 16, 32],
                        depth=[1, 2],
                        kernel_size=[3],
                        expand_ratio=[2, 3, 4],
                        stride=2,
                        se=True,
                    ),
                    dict(
                        name='mb4',
                        width=[16, 32, 48],
                        depth=[1, 2],
                        kernel_size=[3],
                        expand_ratio=[2, 3, 4],
                        stride=1,
                        se=True,
                    ),
                ],
                head=[16, 64, 128],
            ),
        ),
        head=dict(
            type='mmrazor_bignas.DynamicLinearClsHead',
            num_classes=10,
            dropout=0.1,
            loss=dict(type='mmrazor_bignas.LabelSmoothCrossEntropy', label_smoothing=0.1),
        ),
    ),
)
