# A small search space for 28 x 28 images, which it reduces to 20 x 20. 4,608 subnets of 0.22 to 1.0 million multiply-adds.
# One resolution: on feature maps of 2 to 5 pixels weights do not carry over to another.
algorithm = dict(
    architecture=dict(
        type='mmrazor_bignas.SearchableImageClassifier',
        data_preprocessor=dict(mean=[73.0, 73.0, 73.0], std=[90.0, 90.0, 90.0]),
        backbone=dict(
            type='mmrazor_bignas.AttentiveMobileNetV3',
            search_space=dict(
                resolution=[20],
                stem=[16],
                stages=[
                    dict(
                        name='mb1',
                        width=[16],
                        depth=[1],
                        kernel_size=[3, 5],
                        expand_ratio=[1],
                        stride=1,
                        se=False,
                    ),
                    dict(
                        name='mb2',
                        width=[12, 16, 20, 24],
                        depth=[1, 2],
                        kernel_size=[3, 5],
                        expand_ratio=[2, 3, 4],
                        stride=2,
                        se=False,
                    ),
                    dict(
                        name='mb3',
                        width=[24, 32, 40, 48],
                        depth=[1, 2],
                        kernel_size=[3, 5],
                        expand_ratio=[2, 3, 4],
                        stride=2,
                        se=True,
                    ),
                ],
                head=[128],
            ),
        ),
        head=dict(
            type='mmrazor_bignas.DynamicLinearClsHead',
            num_classes=10,
            dropout=0.1,
            loss=dict(type='mmrazor_bignas.LabelSmoothCrossEntropy', label_smoothing=0.0),
        ),
    ),
)
