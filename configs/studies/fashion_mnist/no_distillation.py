# python tools/train.py configs/studies/fashion_mnist/no_distillation.py --work-dir work_dirs/fashion_mnist/no_distillation
_base_ = './supernet.py'

# Every subnet learns the labels.
algorithm = dict(distillation=None)
