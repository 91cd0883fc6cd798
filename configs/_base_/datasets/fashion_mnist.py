# Fashion-MNIST: 3,000 images to train on, so that the training of a supernet comes to its end within minutes, 5,000 to
# search on, 52,000 left out, and the 10,000 test images that only results come from.
_root = 'data/fashion_mnist'
_train_pipeline = [
    dict(type='RandomCrop', crop_size=28, padding=2),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackClsInputs'),
]
_test_pipeline = [dict(type='PackClsInputs')]
_split = dict(type='mmrazor_bignas.StratifiedSplit', parts=dict(search=1 / 12, left_out=13 / 15), seed=0)
_source = dict(type='mmrazor_bignas.FashionMNIST', data_prefix=_root, test_mode=False)

_train_set = dict(**_split, part='train', dataset=dict(**_source, pipeline=_train_pipeline))
_search_set = dict(**_split, part='search', dataset=dict(**_source, pipeline=_test_pipeline))
_test_set = dict(type='mmrazor_bignas.FashionMNIST', data_prefix=_root, test_mode=True, pipeline=_test_pipeline)
_evaluator = dict(type='Accuracy', topk=(1,))
