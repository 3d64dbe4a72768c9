"""What a run writes for others' tools: event files for TensorBoard, a log for MLPerf's checker."""

import builtins
import itertools

import pytest
import torch
from mlperf_logging.compliance_checker.mlp_compliance import make_checker
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import skep.train
from skep.errors import InputError
from skep.train.mllog import MLLog, MLLogger


def trained(tokens_until=200, **how):
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with skep.train.join(model, optimizer, **how) as run:
        for step in itertools.count():
            x = torch.randn(16, 4)
            loss = (model(x).squeeze(1) - x.sum(1)).square().mean()
            loss.backward()
            run.tokens(16)
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss.detach())
            if step % 40 == 39:
                run.evaluated(float(loss.detach()))
            if step >= tokens_until:
                break
    return run


def about(folder, **more):
    facts = {"benchmark": "llama31_8b", "org": "skep", "platform": "cpu", "train_samples": 10_000}
    return MLLog(str(folder / "ml.log"), eval_samples=16, **(facts | more))


PRECISIONS = dict.fromkeys(("linear", "attn", "comm"), "fp32")
WIDTHS = dict.fromkeys(("tensor", "pipeline", "context", "expert"), 1)
NEEDED = {  # by the rules of 6.1.0 besides
    **{f"lowest_numerical_precision_in_{name}": what for name, what in PRECISIONS.items()},
    **{f"{name}_parallelism": width for name, width in WIDTHS.items()},
    "micro_batch_size": 16,
    "config_filename": "train.py",
}


def accepts(path, rules="5.1.0"):
    checker = make_checker("training", rules, quiet=True, werror=True)
    return checker.check_file(str(path), f"training_{rules}/common.yaml")


def test_the_checker_of_mlperf_accepts_the_log_of_a_run(tmp_path):
    trained(mllog=about(tmp_path, target=0.5, also={"opt_name": "sgd", **NEEDED}))
    text = (tmp_path / "ml.log").read_text()
    for rules in ("5.1.0", "6.0.0", "6.1.0"):
        assert accepts(tmp_path / "ml.log", rules)
    assert '"status": "success"' in text
    assert text.count('"eval_accuracy"') == 5
    (tmp_path / "ml.log").write_text(text.replace("init_stop", "init_ended"))
    assert not accepts(tmp_path / "ml.log")


def test_a_run_that_fails_or_misses_its_target_was_aborted(tmp_path):
    log = MLLogger(about(tmp_path, target=0.9, lower=False), "a", lambda: 1.0)
    log.begin()
    log.evaluated(0.89, 100)
    log.end(100)
    assert '"status": "aborted"' in (tmp_path / "ml.log").read_text()
    with pytest.raises(RuntimeError):  # noqa: SIM117
        with skep.train.join(torch.nn.Linear(1, 1), sgd(), mllog=about(tmp_path)):
            raise RuntimeError
    assert '"status": "aborted"' in (tmp_path / "ml.log").read_text()


def sgd():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"division": "shut"}, "mllog.division"),
        ({"org": ""}, "mllog.org"),
        ({"path": "/no/such/folder/log"}, "mllog.path"),
    ],
)
def test_what_is_wrong_with_the_log_is_told(tmp_path, wrong, field):
    facts = {"path": str(tmp_path / "log"), "benchmark": "b", "org": "o", "platform": "p"}
    made = MLLog(**(facts | {"train_samples": 1, "eval_samples": 1} | wrong))
    with pytest.raises(InputError, match=field):
        skep.train.join(torch.nn.Linear(1, 1), sgd(), mllog=made)


def test_event_files_have_the_curves_of_a_site(tmp_path, monkeypatch):
    monkeypatch.setattr("skep.train.run.PROGRESS_S", 0.0)
    run = trained(tensorboard=str(tmp_path), site="a")
    found = EventAccumulator(str(tmp_path / "a"), size_guidance={"scalars": 0})
    found.Reload()
    names = found.Tags()["scalars"]
    told = ("loss", "tokens_per_s", "exchange_s", "bytes_sent", "bytes_received", "global_tokens")
    assert {f"skep/{name}" for name in told} <= set(names)
    losses = found.Scalars("skep/loss")
    assert losses[0].value > 5 * losses[-1].value
    assert losses[-1].step == run.global_tokens == 201 * 16


def test_without_the_library_of_tensorboard_one_line_says_so(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"skep\[tensorboard\]"):
        skep.train.join(torch.nn.Linear(1, 1), sgd(), tensorboard=str(tmp_path))
