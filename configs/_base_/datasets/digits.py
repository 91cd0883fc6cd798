# scikit-learn's digits, 1,797 images, in three disjoint parts: a quarter to train on, the rest to tell networks apart by. A
# leading underscore marks pieces for other configs.
_train_pipeline = [
    dict(type='Resize', scale=(32, 32), interpolation='bicubic'),
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.7, 1.0), interpolation='bicubic'),
    dict(type='PackClsInputs'),
]
_test_pipeline = [
    dict(type='Resize', scale=(32, 32), interpolation='bicubic'),
    dict(type='PackClsInputs'),
]
_split = dict(type='mmrazor_bignas.StratifiedSplit', parts=dict(search=0.35, test=0.4), seed=0)

_train_set = dict(**_split, part='train', dataset=dict(type='mmrazor_bignas.Digits', pipeline=_train_pipeline))
_search_set = dict(**_split, part='search', dataset=dict(type='mmrazor_bignas.Digits', pipeline=_test_pipeline))
_test_set = dict(**_split, part='test', dataset=dict(type='mmrazor_bignas.Digits', pipeline=_test_pipeline))
_evaluator = dict(type='Accuracy', topk=(1,))
