# python tools/train.py configs/studies/fashion_mnist/regularize_all.py --work-dir work_dirs/fashion_mnist/regularize_all
_base_ = './supernet.py'

# Dropout in every subnet, and weight decay once for each of the four.
algorithm = dict(regularize='all')
optim_wrapper = dict(optimizer=dict(weight_decay=4e-4))
