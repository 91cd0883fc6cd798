"""Two gloo processes: one exchange of gradients a step, exact gradients, scores and calibration over ranks."""

import copy
import os
import pickle

import pytest
import torch
import torch.distributed as dist
from ranks import run_two_ranks

from mmrazor_bignas.engine.distributed import first_to_fail, lost_contact, on_first_rank, slurm_port, start_processes
from mmrazor_bignas.errors import InputError, UserError

WORKER = """
import pickle, sys
import torch, torch.distributed as dist
from mmcls.structures import ClsDataSample
from mmengine.optim import OptimWrapper
from mmrazor_bignas.engine import SandwichDistributedDataParallel, calibrate_batch_norm
from mmrazor_bignas.engine.distributed import start_processes, stop_processes
from mmrazor_bignas.models import extract_subnet
from mmrazor_bignas.registry import MODELS

start_processes('pytorch')
rank = dist.get_rank()
cfg, state = pickle.load(open(sys.argv[1], 'rb'))
algorithm = MODELS.build(cfg)
algorithm.load_state_dict(state)
wrapped = SandwichDistributedDataParallel(algorithm, device_ids=[0], bucket_cap_mb=100)
exchanges = []
wrapped.register_comm_hook(None, lambda _, bucket: (
    exchanges.append(1), dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda f: f.value()[0] / 2)
)[1])
wrapper = OptimWrapper(torch.optim.SGD(algorithm.parameters(), lr=0.0))
wrapper.zero_grad = lambda: None
wrapped.train()
# The second step runs over the first one's bucket layout; its gradients are added to the first's.
for step in range(2):
    for parameter in algorithm.parameters():
        parameter.grad = None
    exchanges.clear()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(rank))
    data = {'inputs': images * 50 + 100, 'data_samples': [ClsDataSample().set_gt_label(i) for i in range(4)]}
    wrapped.train_step(data, wrapper)
    torch.save([p.grad for p in algorithm.parameters()], f'{sys.argv[2]}/gradients{rank}.pt')
assert len(exchanges) == 1, exchanges  # one bucket, once a step

class Share(list):
    world_size, skip_unreadable = 2, False

sizes = [4, 3, 5]
batches = [
    {'inputs': torch.rand(n, 3, 28, 28, generator=torch.Generator().manual_seed(i)) * 255} for i, n in enumerate(sizes)
]
static = extract_subnet(algorithm.architecture, algorithm.search_space.smallest)
calibrate_batch_norm(static, Share(batches[rank::2]))
torch.save(static.state_dict(), f'{sys.argv[2]}/calibrated{rank}.pt')
alone = SandwichDistributedDataParallel(static.train())
wrapper = OptimWrapper(torch.optim.SGD(static.parameters(), lr=0.0))
wrapper.zero_grad = lambda: None
alone.train_step(data, wrapper)
torch.save([p.grad for p in static.parameters()], f'{sys.argv[2]}/alone{rank}.pt')
stop_processes()
"""


# Every rank has other images. What it scored by itself, what the sampler was given, and the weights in the end.
SCORING_WORKER = """
import pickle, sys
import torch, torch.distributed as dist
from mmcls.structures import ClsDataSample
from mmengine.optim import OptimWrapper
from mmrazor_bignas.engine import SandwichDistributedDataParallel
from mmrazor_bignas.engine.distributed import start_processes, stop_processes
from mmrazor_bignas.registry import MODELS

start_processes('pytorch')
rank = dist.get_rank()
cfg, state = pickle.load(open(sys.argv[1], 'rb'))
algorithm = MODELS.build(cfg)
algorithm.load_state_dict(state)
seen = {'local': [], 'given': [], 'subnets': []}
cross_entropy, sampler = algorithm.architecture.head.cross_entropy, algorithm.sampler

def local(*args):
    loss = cross_entropy(*args)
    seen['local'].append(-float(loss))
    return loss

def sample(space, step, score):
    def given(candidates):
        scores = score(candidates)
        seen['given'] += scores
        return scores
    subnets = sampler(space, step, given)
    seen['subnets'].append(subnets)
    return subnets

algorithm.architecture.head.cross_entropy, algorithm.sampler = local, sample
wrapped = SandwichDistributedDataParallel(algorithm)
wrapper = OptimWrapper(torch.optim.SGD(algorithm.parameters(), lr=0.05))
wrapped.train()
for step in range(3):
    algorithm.step_each_subnet = step == 2  # gradients are exchanged after each
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(10 * step + rank))
    data = {'inputs': images * 50 + 100, 'data_samples': [ClsDataSample().set_gt_label(i) for i in range(4)]}
    wrapped.train_step(data, wrapper)
seen['weights'] = [p.detach() for p in algorithm.parameters()]
pickle.dump(seen, open(f'{sys.argv[2]}/seen{rank}.pkl', 'wb'))
stop_processes()
"""


def test_ranks_with_other_images_pick_the_same_subnets(tiny_architecture, tiny_algorithm, tmp_path):
    sampler = {'type': 'mmrazor_bignas.BestUpSampler', 'bin_flops': 0.5e6, 'num_samples': 2000}
    cfg = {
        'type': 'mmrazor_bignas.BigNAS',
        'architecture': tiny_architecture,
        'sampler': sampler,
        'distillation': {'type': 'mmrazor_bignas.KLDistillation'},
    }
    (tmp_path / 'in.pkl').write_bytes(pickle.dumps((cfg, tiny_algorithm.state_dict())))
    (tmp_path / 'worker.py').write_text(SCORING_WORKER)
    run_two_ranks(tmp_path / 'worker.py', tmp_path / 'in.pkl', tmp_path)
    first, second = (pickle.loads((tmp_path / f'seen{rank}.pkl').read_bytes()) for rank in range(2))
    assert len(first['given']) == 3 * 6
    assert first['given'] == second['given']
    mean = [(a + b) / 2 for a, b in zip(first['local'], second['local'], strict=True)]
    assert first['given'] == pytest.approx(mean, rel=1e-5)
    assert first['local'] != second['local']
    assert first['subnets'] == second['subnets']
    for ours, theirs in zip(first['weights'], second['weights'], strict=True):
        assert torch.equal(ours, theirs)


@pytest.fixture
def two_ranks(tiny_architecture, tiny_algorithm, tmp_path):
    """What two processes wrote, and the algorithm they ran."""
    tiny_architecture['backbone']['drop_path_rate'] = 0.0
    tiny_architecture['head']['dropout'] = 0.0
    cfg = {
        'type': 'mmrazor_bignas.BigNAS',
        'architecture': tiny_architecture,
        'sampler': {'type': 'mmrazor_bignas.SandwichSampler'},
        'distillation': {'type': 'mmrazor_bignas.KLDistillation'},
    }
    (tmp_path / 'in.pkl').write_bytes(pickle.dumps((cfg, tiny_algorithm.state_dict())))
    (tmp_path / 'worker.py').write_text(WORKER)
    run_two_ranks(tmp_path / 'worker.py', tmp_path / 'in.pkl', tmp_path)
    return cfg, tmp_path


def test_gradients_are_the_average_of_two_single_runs_exchanged_once(two_ranks, tiny_algorithm):
    from mmcls.structures import ClsDataSample
    from mmengine.optim import OptimWrapper

    from mmrazor_bignas.registry import MODELS

    cfg, folder = two_ranks
    algorithm = MODELS.build(copy.deepcopy(cfg))
    algorithm.load_state_dict(tiny_algorithm.state_dict())
    algorithm.train()
    wrapper = OptimWrapper(torch.optim.SGD(algorithm.parameters(), lr=0.0))
    wrapper.zero_grad = lambda: None
    for rank in range(2):  # adds up
        images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(rank))
        samples = [ClsDataSample().set_gt_label(i) for i in range(4)]
        algorithm.train_step({'inputs': images * 50 + 100, 'data_samples': samples}, wrapper)
    gradients = [torch.load(folder / f'gradients{rank}.pt') for rank in range(2)]
    for parameter, first, second in zip(algorithm.parameters(), *gradients, strict=True):
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad / 2
        for ours in (first, second):
            ours = torch.zeros_like(parameter) if ours is None else ours
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def test_ranks_calibrate_one_network_and_train_it_as_one_process_does(two_ranks, tiny_algorithm):
    from mmcls.structures import ClsDataSample
    from mmengine.optim import OptimWrapper

    from mmrazor_bignas.engine import calibrate_batch_norm
    from mmrazor_bignas.models import extract_subnet

    _, folder = two_ranks

    class Whole(list):
        world_size, skip_unreadable = 1, False

    batches = Whole(
        {'inputs': torch.rand(n, 3, 28, 28, generator=torch.Generator().manual_seed(i)) * 255}
        for i, n in enumerate([4, 3, 5])
    )
    static = extract_subnet(tiny_algorithm.architecture, tiny_algorithm.search_space.smallest)
    calibrate_batch_norm(static, batches)
    for rank in range(2):
        theirs = torch.load(folder / f'calibrated{rank}.pt')
        for key, value in static.state_dict().items():
            if 'num_batches' not in key:
                torch.testing.assert_close(theirs[key], value, rtol=1e-4, atol=1e-5)
    static.train()  # alone, as after an export
    for module in static.modules():
        module.drop_path_rate = module.dropout = 0.0
    wrapper = OptimWrapper(torch.optim.SGD(static.parameters(), lr=0.0))
    wrapper.zero_grad = lambda: None
    for rank in range(2):  # adds up
        images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(rank))
        samples = [ClsDataSample().set_gt_label(i) for i in range(4)]
        static.train_step({'inputs': images * 50 + 100, 'data_samples': samples}, wrapper)
    for rank in range(2):
        for parameter, ours in zip(static.parameters(), torch.load(folder / f'alone{rank}.pt'), strict=True):
            torch.testing.assert_close(ours, parameter.grad / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(('launcher', 'variable'), [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID')])
def test_a_launcher_that_did_not_start_the_program(monkeypatch, launcher, variable):
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match=f'--launcher {launcher}: {variable} is not set'):
        start_processes(launcher)


def test_an_unknown_launcher():
    with pytest.raises(InputError, match="'torchrun'; expected one of"):
        start_processes('torchrun')


def test_one_rank_alone_is_the_first_to_fail():
    store = dist.HashStore()
    assert [first_to_fail(store) for _ in range(4)] == [True, False, False, False]


def test_two_processes_at_the_same_time_have_one_first_to_fail():
    server = dist.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    children = []
    for _ in range(4):
        if (pid := os.fork()) == 0:
            code = 2
            try:
                client = dist.TCPStore('127.0.0.1', server.port, is_master=False, wait_for_workers=False)
                code = 1 if first_to_fail(client) else 0
            finally:
                os._exit(code)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert sorted(codes) == [0, 0, 0, 1]
    assert not first_to_fail(server)


def test_lost_contact_is_told_from_faults():
    assert lost_contact(dist.DistBackendError('NCCL communicator was aborted'))
    assert lost_contact(RuntimeError('[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1'))
    assert not lost_contact(RuntimeError('CUDA out of memory'))
    assert not lost_contact(ValueError('gloo'))


def test_jobs_and_steps_have_ports_of_their_own():
    ports = [
        slurm_port({'SLURM_JOB_ID': str(job), 'SLURM_STEP_ID': str(step)}) for job in range(9) for step in range(9)
    ]
    assert len(set(ports)) == 81
    assert all(1024 < slurm_port({'SLURM_JOB_ID': str(job)}) < 32768 for job in (1, 54321, 2**31))


def test_one_process_is_the_first_rank():
    assert on_first_rank(lambda: 5) == 5

    def fail():
        raise UserError('no')

    with pytest.raises(UserError, match='no'):
        on_first_rank(fail)
