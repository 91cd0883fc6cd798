# ImageNet: training images divided into 'train' and a held-out 'search' part of about 10,000, which scores candidates;
# the validation images are the test set and are seen by no search. A leading underscore marks pieces for other configs.
_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmrazor_bignas.RandomResizedCrop', scale=224, interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    # 'original' is the policy of the AutoAugment paper.
    dict(type='mmrazor_bignas.AutoAugment', policies='v0'),
    dict(type='PackClsInputs'),
]
_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmrazor_bignas.ResizeEdge', scale=256, edge='short', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackClsInputs'),
]
_train_images = dict(type='ImageNet', data_root='data/imagenet', ann_file='meta/train.txt', data_prefix='train')
_split = dict(type='mmrazor_bignas.StratifiedSplit', parts=dict(search=1 / 128), seed=0)

_train_set = dict(**_split, part='train', dataset=dict(**_train_images, pipeline=_train_pipeline))
_search_set = dict(**_split, part='search', dataset=dict(**_train_images, pipeline=_test_pipeline))
_test_set = dict(
    type='ImageNet',
    data_root='data/imagenet',
    ann_file='meta/val.txt',
    data_prefix='val',
    pipeline=_test_pipeline,
)
_evaluator = dict(type='Accuracy', topk=(1, 5))
