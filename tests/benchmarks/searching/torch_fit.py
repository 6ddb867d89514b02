"""PyTorch: the plain loop for each configuration, and torch.func over all of them at once.

Left out in its favour: clipping, averaging, keeping the best, the look at training rows. Like Tidemill's population the
stacked one has dead units where a configuration is narrower, and shares the order of rows.
Axes: b batch rows, f features, k configurations.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from searching.problem import BATCH, CLASSES, EPOCHS, FEATURES, ROWS, WIDTHS, rows, settings
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import cross_entropy, relu

PACKAGES = ("torch", "numpy")
B1, B2, EPSILON = 0.9, 0.999, 1e-8
Losses = Callable[[], list[float]]
torch.set_num_threads(1)
X_NF, Y_N = (torch.from_numpy(values) for values in rows())
Y_N = Y_N.long()


# --- one by one -----------------------------------------------------------------------------------------------------


def net(told: dict[str, Any]) -> nn.Sequential:
    """The net of one configuration, as narrow as asked."""
    first, second = told["width"], told["width"] // 2
    drop = [nn.Dropout(told["dropout"]), nn.Dropout(told["dropout"])] if told["dropout"] else [nn.Identity()] * 2
    hidden = (nn.Linear(FEATURES, first), nn.ReLU(), drop[0], nn.Linear(first, second), nn.ReLU(), drop[1])
    return nn.Sequential(*hidden, nn.Linear(second, CLASSES))


def train(told: dict[str, Any]) -> float:
    """The loop as in an introduction; the best validation loss."""
    model, found = net(told), []
    rule = torch.optim.AdamW(
        model.parameters(), lr=told["learning_rate"], weight_decay=told["weight_decay"], fused=True
    )
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    for _ in range(EPOCHS):
        model.train()
        for at_b in torch.randperm(ROWS).split(BATCH):
            loss = cross_entropy(model(X_NF[at_b]), Y_N[at_b])
            if told["l1"]:
                loss = loss + told["l1"] * sum(weight.abs().sum() for weight in matrices)
            rule.zero_grad()
            loss.backward()
            rule.step()
        model.eval()
        with torch.no_grad():
            found.append(cross_entropy(model(X_NF[ROWS:]), Y_N[ROWS:]).item())
    return min(found)


def loop(count: int) -> Losses:
    """One after the other."""
    torch.manual_seed(0)
    found = [train(told) for told in settings(count)]
    return lambda: found


# --- all at once ----------------------------------------------------------------------------------------------------


class Stackable(nn.Module):
    """The net at full width; units beyond `width` are dead, and dropout comes as a number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (FEATURES, WIDTHS[0], WIDTHS[0] // 2)
        self.hidden = nn.ModuleList([nn.Linear(sizes[0], sizes[1]), nn.Linear(sizes[1], sizes[2])])
        self.out = nn.Linear(sizes[2], CLASSES)
        for layer, live in zip(self.hidden, (width, width // 2), strict=True):
            nn.init.zeros_(layer.weight[live:].detach())
            nn.init.zeros_(layer.bias[live:].detach())

    def forward(self, x_bf: torch.Tensor, dropout: torch.Tensor | None = None) -> torch.Tensor:
        """Logits."""
        for layer in self.hidden:
            x_bf = relu(layer(x_bf))
            if dropout is not None:
                x_bf = x_bf * (torch.rand_like(x_bf) >= dropout) / (1 - dropout)
        return self.out(x_bf)


def stacked(count: int) -> Losses:
    """The ensemble of PyTorch's tutorial, every configuration with settings of its own; AdamW by hand."""
    torch.manual_seed(0)
    chosen = settings(count)
    nets = [Stackable(told["width"]) for told in chosen]
    weights = {name: value.detach() for name, value in stack_module_state(nets)[0].items()}
    bare = copy.deepcopy(nets[0]).to("meta")

    def loss_of(weights: Any, dropout: torch.Tensor, x_bf: torch.Tensor, y_b: torch.Tensor) -> torch.Tensor:
        return cross_entropy(functional_call(bare, weights, (x_bf, dropout)), y_b)

    def held_loss(weights: Any) -> torch.Tensor:
        return cross_entropy(functional_call(bare, weights, (X_NF[ROWS:],)), Y_N[ROWS:])

    gradients_of = vmap(grad(loss_of), in_dims=(0, 0, None, None), randomness="different")
    knobs = {name: torch.tensor([told[name] for told in chosen]) for name in chosen[0]}
    moments = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in weights.items()}
    best_k, number = torch.full((count,), torch.inf), 0
    with torch.no_grad():
        for _ in range(EPOCHS):
            for at_b in torch.randperm(ROWS).split(BATCH):
                number += 1
                gradients = gradients_of(weights, knobs["dropout"], X_NF[at_b], Y_N[at_b])
                for name, weight in weights.items():
                    step(weight, gradients[name], moments[name], knobs, number)
            best_k = torch.minimum(best_k, vmap(held_loss)(weights))
    return best_k.tolist


def step(weight: Any, gradient: Any, moments: Any, knobs: dict[str, torch.Tensor], number: int) -> None:
    """AdamW with L1 in the gradient, in place; settings [k] of their own for each configuration."""

    def shaped(knob_k: torch.Tensor) -> torch.Tensor:
        return knob_k.reshape(-1, *[1] * (weight.ndim - 1))

    rate, (first, second) = shaped(knobs["learning_rate"]), moments
    if weight.ndim > 2:
        gradient = gradient.addcmul(shaped(knobs["l1"]), weight.sign())
    first.lerp_(gradient, 1 - B1)
    second.mul_(B2).addcmul_(gradient, gradient, value=1 - B2)
    root = (second / (1 - B2**number)).sqrt_().add_(EPSILON)
    weight.mul_(1 - rate * shaped(knobs["weight_decay"]))
    weight.sub_(first.mul(rate / (1 - B1**number)).div_(root))


WAYS = {"loop": loop, "stacked": stacked}
