"""Signals: raised, recorded, and outlived by workers."""

import os
import signal
import threading
import time

import pytest
import torch
from torch.utils.data import DataLoader

from mmrazor_bignas.engine.signals import (
    STOP_SIGNALS,
    Stopped,
    outlive_signals,
    plain_interrupts,
    raised_signals,
    recorded_signals,
)


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


def in_a_fork(run) -> int:
    """The exit code of a function in a process of its own; of a signal's number, negative."""
    if (pid := os.fork()) == 0:
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize('stretch', [raised_signals, recorded_signals])
def test_a_second_interrupt_ends_the_process_whatever_it_is_at(stretch):
    def run():
        with stretch():
            try:
                send(signal.SIGINT)
                send(signal.SIGINT)
            finally:
                send(signal.SIGINT)

    assert in_a_fork(run) == -signal.SIGINT


def test_a_recorded_interrupt_is_answered_at_once(capfd):
    with recorded_signals() as received:
        send(signal.SIGTERM)
        assert capfd.readouterr().err == ''
        send(signal.SIGINT)
        assert capfd.readouterr().err.strip().endswith('press Ctrl-C again to leave at once')
        received.clear()


@pytest.mark.parametrize('stretch', [raised_signals, recorded_signals, plain_interrupts])
def test_what_a_script_runs_in_the_background_ignores_the_terminal(stretch):
    def run():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with stretch():
            send(signal.SIGINT)
            send(signal.SIGINT)
        send(signal.SIGINT)

    assert in_a_fork(run) == 0


def test_a_plain_interrupt_is_no_traceback():
    def run():
        with plain_interrupts():
            with recorded_signals():
                pass
            send(signal.SIGINT)

    assert in_a_fork(run) == -signal.SIGINT
    before = signal.getsignal(signal.SIGINT)
    with plain_interrupts():
        pass
    assert signal.getsignal(signal.SIGINT) == before


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
