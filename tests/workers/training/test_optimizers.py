import copy
import io
from collections.abc import Callable
from typing import Any, get_args

import pytest
import schedulefree
import timm.optim
import torch
from torch import Tensor, nn, optim
from torch.nn import functional

from models_store.spec import optimizer as spec
from models_store.spec.part import Part
from workers.training import optimizers

# B batch, C channel, H height, W width, K class

PARTS: tuple[type[spec.Descent], ...] = get_args(get_args(spec.Optimizer)[0])
every_optimizer = pytest.mark.parametrize("part", PARTS, ids=[str(part.model_fields["kind"].default) for part in PARTS])


def usual(part: type[spec.Descent]) -> spec.Descent:
    """Return the optimizer as a recipe decides it for a net that begins at random."""
    return part.model_validate({"kind": part.model_fields["kind"].default, "lr": part.usual_lr})


def a_net() -> nn.Sequential:
    """Return a net with what a split has to tell apart: first and last, hidden, grouped, norms and biases."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 6, 3, bias=False),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 10),
        nn.ReLU(),
        nn.Linear(10, 4),
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)  # no bias is 0, so that decay would show
    return net


HIDDEN, OUTER = ["2.weight", "6.weight"], ["0.weight", "3.weight", "8.weight"]


def built(part: Part, net: nn.Module) -> optim.Optimizer:
    decay: dict[str, Any] = {name: getattr(part, name) for name in ("weight_decay", "decay_norms")}
    return optimizers.build(part, optimizers.groups(net, **decay))


def step(net: nn.Module, *steppers: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images_BCHW = torch.randn(5, 3, 10, 10, generator=generator).to(next(net.parameters()))
    labels_B = torch.randint(0, 4, (5,), generator=generator).to(images_BCHW.device)
    net.zero_grad()
    functional.cross_entropy(net(images_BCHW), labels_B).backward()
    for stepper in steppers:
        stepper.step()


def by_decay(net: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    return [
        {"params": [weight for weight in net.parameters() if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in net.parameters() if weight.ndim == 1], "weight_decay": 0.0},
    ]


def a_lamb(net: nn.Module) -> optim.Optimizer:
    matrices, vectors = by_decay(net, weight_decay=0.03)
    groups = [matrices | {"always_adapt": True}, vectors]
    lamb: optim.Optimizer = timm.optim.Lamb(groups, lr=0.01, betas=(0.8, 0.95), max_grad_norm=None, foreach=False)
    return lamb


def a_schedule_free(net: nn.Module) -> optim.Optimizer:
    optimizer = schedulefree.AdamWScheduleFree(
        by_decay(net, weight_decay=0.03), lr=0.01, betas=(0.8, 0.95), foreach=False
    )
    optimizer.train()
    free: optim.Optimizer = optimizer
    return free


BETAS: dict[str, Any] = {"lr": 0.01, "beta1": 0.8, "beta2": 0.95, "weight_decay": 0.03}
SAME: dict[str, Any] = {"lr": 0.01, "betas": (0.8, 0.95)}
PEERS: list[tuple[Part, Callable[[nn.Module], optim.Optimizer]]] = [
    (
        spec.Sgd(lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.03),
        lambda net: optim.SGD(
            by_decay(net, weight_decay=0.03), lr=0.1, momentum=0.8, nesterov=True, foreach=False, fused=False
        ),
    ),
    (
        spec.Sgd(lr=0.1, momentum=0.0, weight_decay=0.0),
        lambda net: optim.SGD(net.parameters(), lr=0.1, foreach=False, fused=False),
    ),
    (
        spec.Adam(**BETAS),
        lambda net: optim.Adam(by_decay(net, weight_decay=0.03), **SAME, foreach=False, fused=False),
    ),
    (
        spec.AdamW(**BETAS),
        lambda net: optim.AdamW(by_decay(net, weight_decay=0.03), **SAME, foreach=False, fused=False),
    ),
    (
        spec.NAdam(**BETAS, momentum_decay=0.01),
        lambda net: optim.NAdam(
            by_decay(net, weight_decay=0.03), **SAME, momentum_decay=0.01, decoupled_weight_decay=True, foreach=True
        ),
    ),
    (
        spec.RAdam(**BETAS),
        lambda net: optim.RAdam(by_decay(net, weight_decay=0.03), **SAME, decoupled_weight_decay=True, foreach=True),
    ),
    (
        spec.RmsProp(lr=0.01, alpha=0.9, momentum=0.5, centered=True, weight_decay=0.03),
        lambda net: optim.RMSprop(
            by_decay(net, weight_decay=0.03), lr=0.01, alpha=0.9, momentum=0.5, centered=True, foreach=True
        ),
    ),
    (
        spec.Adagrad(lr=0.1, lr_decay=0.1, weight_decay=0.03),
        lambda net: optim.Adagrad(by_decay(net, weight_decay=0.03), lr=0.1, lr_decay=0.1, foreach=False, fused=False),
    ),
    (spec.Lion(**BETAS), lambda net: timm.optim.Lion(by_decay(net, weight_decay=0.03), **SAME, foreach=False)),
    (spec.Lamb(**BETAS), a_lamb),
    (spec.ScheduleFreeAdamW(**BETAS), a_schedule_free),
]


@pytest.mark.parametrize(
    ("part", "peer_of"), PEERS, ids=[f"{type(part).__name__}-{n}" for n, (part, _) in enumerate(PEERS)]
)
def test_it_steps_as_its_library_s_own_object(part: Part, peer_of: Callable[[nn.Module], optim.Optimizer]) -> None:
    ours, theirs = a_net().double(), a_net().double()
    our_optimizer, their_optimizer = built(part, ours), peer_of(theirs)

    for seed in range(8):
        step(ours, our_optimizer, seed=seed)
        step(theirs, their_optimizer, seed=seed)

    start = a_net().double()
    assert not any(map(torch.equal, ours.parameters(), start.parameters()))
    for parameter, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter, twin)


class Flattened(nn.Module):
    """The net with its hidden kernel held as a matrix, so that torch's own Muon takes it."""

    def __init__(self, net: nn.Sequential) -> None:
        super().__init__()
        self.net = net
        kernel = net[2].weight
        self.matrix = nn.Parameter(kernel.detach().flatten(1))
        self.shape = kernel.shape
        del net[2].weight

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self.net[2].weight = self.matrix.view(self.shape)
        logits_BK: Tensor = self.net(images_BCHW)
        return logits_BK


def test_muon_steps_as_torch_s_muon_on_hidden_weights_and_as_adamw_elsewhere() -> None:
    ours, theirs = a_net(), Flattened(a_net())
    muon = built(spec.Muon(lr=0.02, momentum=0.9, ns_steps=4, beta1=0.8, beta2=0.95, weight_decay=0.03), ours)
    named = dict(theirs.named_parameters())
    hidden = [named["matrix"], named["net.6.weight"]]
    outer = [named[f"net.{name}"] for name in OUTER]
    vectors = [parameter for parameter in named.values() if parameter.ndim == 1]
    torch_muon = optim.Muon(
        hidden, lr=0.02, momentum=0.9, ns_steps=4, weight_decay=0.03, adjust_lr_fn="match_rms_adamw"
    )
    adamw = optim.AdamW(
        [{"params": outer, "weight_decay": 0.03}, {"params": vectors, "weight_decay": 0.0}], lr=0.02, betas=(0.8, 0.95)
    )

    for seed in range(4):
        step(ours, muon, seed=seed)
        step(theirs, torch_muon, adamw, seed=seed)

    for name, parameter in ours.named_parameters():
        twin = theirs.matrix.view(parameter.shape) if name == "2.weight" else named[f"net.{name}"]
        torch.testing.assert_close(parameter, twin, rtol=1e-2, atol=2e-3)  # bfloat16 iterations, in another order


def test_muon_makes_the_steps_of_hidden_weights_near_orthogonal() -> None:
    net = a_net()
    before = copy.deepcopy(dict(net.named_parameters()))
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)

    built(spec.Muon(lr=0.01, weight_decay=0.0), net).step()

    for name in HIDDEN:
        moved = (dict(net.named_parameters())[name] - before[name]).detach().flatten(1)
        values = torch.linalg.svdvals(moved) / (0.01 * 0.2 * max(moved.shape) ** 0.5)
        assert values.min() > 0.3, name
        assert values.max() < 1.4, name


def test_a_head_alone_keeps_its_last_layer_from_muon_and_not_its_hidden_ones() -> None:
    head = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))

    groups = optimizers.groups(head, weight_decay=0.1)

    roles = {group["role"]: [tuple(parameter.shape) for parameter in group["params"]] for group in groups}
    assert roles == {"hidden": [(5, 6)], "vector": [(5,), (3,)], "outer": [(3, 5)]}


def test_attention_s_joint_projection_is_hidden() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MultiheadAttention(4, 2), nn.Linear(4, 2))

    groups = optimizers.groups(net, weight_decay=0.1)

    hidden = next(group for group in groups if group["role"] == "hidden")
    assert {tuple(parameter.shape) for parameter in hidden["params"]} == {(12, 4), (4, 4)}


def test_groups_hold_what_trains_once_with_the_scale_of_each_name() -> None:
    net = a_net()
    net[0].requires_grad_(requires_grad=False)

    groups = optimizers.groups(net, weight_decay=0.1, scale_of=lambda name: 10.0 if name.startswith("8.") else 0.5)

    scales = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    expected = {
        id(parameter): 10.0 if name.startswith("8.") else 0.5
        for name, parameter in net.named_parameters()
        if not name.startswith("0.")
    }
    assert scales == expected
    assert sum(len(group["params"]) for group in groups) == len(expected)


@every_optimizer
def test_decay_moves_matrices_alone(part: type[spec.Descent]) -> None:
    moved = moved_without_gradients(part(lr=0.01, weight_decay=0.5))

    assert moved == {*HIDDEN, *OUTER}


@every_optimizer
def test_decay_moves_norms_and_biases_when_asked(part: type[spec.Descent]) -> None:
    moved = moved_without_gradients(part(lr=0.01, weight_decay=0.5, decay_norms=True))

    assert moved == {name for name, _ in a_net().named_parameters()}


def moved_without_gradients(part: Part) -> set[str]:
    net = a_net()
    before = copy.deepcopy(dict(net.named_parameters()))
    optimizer = built(part, net)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {name for name, parameter in net.named_parameters() if not torch.equal(parameter, before[name])}


@every_optimizer
def test_a_state_that_went_through_bytes_goes_on_to_the_very_weights(part: type[spec.Descent]) -> None:
    whole = a_net()
    optimizer = built(usual(part), whole)
    run(whole, optimizer, seeds=range(3))
    buffer = io.BytesIO()
    torch.save({"net": whole.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    run(whole, optimizer, seeds=range(3, 6))

    resumed = a_net()
    again = built(usual(part), resumed)
    saved = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    resumed.load_state_dict(saved["net"])
    again.load_state_dict(saved["optimizer"])
    run(resumed, again, seeds=range(3, 6))

    assert all(torch.equal(left, right) for left, right in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.mark.gpu
@every_optimizer
def test_on_a_gpu_it_steps_and_goes_on_as_on_a_cpu(part: type[spec.Descent]) -> None:
    net, twin = a_net(), a_net().to("cuda")
    optimizer, on_gpu = built(usual(part), net), built(usual(part), twin)
    run(net, optimizer, seeds=range(4))
    run(twin, on_gpu, seeds=range(2))
    state = copy.deepcopy(on_gpu.state_dict())
    on_gpu = built(usual(part), twin)
    on_gpu.load_state_dict(state)
    run(twin, on_gpu, seeds=range(2, 4))

    for parameter, other in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter, other.cpu(), rtol=1e-2, atol=1e-2)


def run(net: nn.Module, optimizer: optim.Optimizer, *, seeds: range) -> None:
    for seed in seeds:
        for group in optimizer.param_groups:
            group["lr"] = 0.01 / (1 + seed)
        step(net, optimizer, seed=seed)


def test_lamb_adapts_to_a_matrix_s_norm_even_without_decay() -> None:
    net = a_net()
    before = copy.deepcopy(dict(net.named_parameters()))

    step(net, built(spec.Lamb(lr=0.01, weight_decay=0.0), net), seed=0)

    for name in (*HIDDEN, *OUTER):
        moved = dict(net.named_parameters())[name].detach() - before[name].detach()
        torch.testing.assert_close(moved.norm(), 0.01 * before[name].detach().norm(), rtol=1e-3, atol=0)


def test_schedule_free_evaluates_at_an_average_and_trains_on_where_it_was() -> None:
    net = a_net()
    optimizer = built(usual(spec.ScheduleFreeAdamW), net)
    run(net, optimizer, seeds=range(4))
    trained = copy.deepcopy(net)

    optimizers.for_evaluation(optimizer)
    evaluated = copy.deepcopy(net)
    optimizers.for_evaluation(optimizer)
    is_twice_the_same = all(map(torch.equal, evaluated.parameters(), net.parameters()))
    optimizers.for_training(optimizer)

    assert not any(map(torch.equal, evaluated.parameters(), trained.parameters()))
    assert is_twice_the_same
    for parameter, twin in zip(net.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(parameter, twin)


@every_optimizer
def test_only_schedule_free_keeps_other_weights_to_evaluate(part: type[spec.Descent]) -> None:
    net = a_net()
    optimizer = built(usual(part), net)
    run(net, optimizer, seeds=range(2))
    trained = copy.deepcopy(net)

    optimizers.for_evaluation(optimizer)

    are_same = all(map(torch.equal, net.parameters(), trained.parameters()))
    assert are_same is (part is not spec.ScheduleFreeAdamW)
    assert isinstance(optimizer, optimizers.KeepsTwoWeights) is (part is spec.ScheduleFreeAdamW)
