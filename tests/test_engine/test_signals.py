"""Signals: raised, recorded, and outlived by workers."""

import os
import signal
import threading
import time

import pytest
import torch
from torch.utils.data import DataLoader

from mmrazor_bignas.engine.signals import STOP_SIGNALS, Stopped, outlive_signals, raised_signals, recorded_signals


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


@pytest.mark.parametrize('signum', STOP_SIGNALS)
def test_a_signal_is_raised_past_handlers_of_errors(signum):
    def run():
        with raised_signals():
            try:
                send(signum)
            except Exception:
                pytest.fail('swallowed')

    with pytest.raises(Stopped, match=signal.Signals(signum).name) as stop:
        run()
    assert stop.value.signum == signum


def test_a_recorded_signal_waits_for_whoever_asks():
    reached = []

    def run():
        with recorded_signals() as received:
            send(signal.SIGUSR1)
            reached.extend(received)

    with pytest.raises(Stopped):
        run()
    assert reached == [signal.SIGUSR1]
    with recorded_signals() as received:
        send(signal.SIGTERM)
        received.clear()


def test_a_part_of_a_recorded_stretch_can_be_left_at_once():
    reached = []

    def run():
        with recorded_signals() as received:
            reached.append(received)
            with raised_signals():
                send(signal.SIGTERM)
            reached.append('went on')

    with pytest.raises(Stopped):
        run()
    assert reached == [[]]


def test_earlier_handlers_come_back():
    before = [signal.getsignal(signum) for signum in STOP_SIGNALS]
    with raised_signals(), recorded_signals():
        assert [signal.getsignal(signum) for signum in STOP_SIGNALS] != before
    assert [signal.getsignal(signum) for signum in STOP_SIGNALS] == before


@pytest.mark.parametrize('stretch', [raised_signals, recorded_signals])
def test_earlier_handlers_come_back_after_an_error(stretch):
    before = [signal.getsignal(signum) for signum in STOP_SIGNALS]
    with pytest.raises(KeyError), stretch():
        raise KeyError
    assert [signal.getsignal(signum) for signum in STOP_SIGNALS] == before


@pytest.mark.parametrize('stretch', [raised_signals, recorded_signals])
def test_a_process_that_was_just_forked_ignores_signals(stretch):
    """As a data loader's worker does until worker_init_fn."""
    with stretch():
        if (pid := os.fork()) == 0:
            code = 1
            try:
                for signum in STOP_SIGNALS:
                    send(signum)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_other_threads_may_train_too():
    done = []

    def work():
        with recorded_signals() as received:
            done.append(received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [[]]


def test_workers_of_a_data_loader_outlive_signals():
    loader = DataLoader(torch.arange(64), batch_size=2, num_workers=2, worker_init_fn=outlive_signals)
    batches = iter(loader)
    seen = [next(batches), next(batches)]  # one of each worker: both have started
    for worker in batches._workers:
        for signum in STOP_SIGNALS:
            os.kill(worker.pid, signum)
    time.sleep(0.2)
    seen += list(batches)
    assert torch.equal(torch.cat(seen), torch.arange(64))
    began = time.monotonic()
    del batches
    assert time.monotonic() - began < 4  # torch terminates what does not end within 5 s
