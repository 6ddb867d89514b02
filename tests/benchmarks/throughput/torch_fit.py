"""PyTorch: the same networks by its layers and the plain loop, rows in memory, one thread.

Left out in its favour: clipping, averaging, keeping the best, the look at rows after an epoch.
"""

from __future__ import annotations

from typing import Any

import torch
from throughput.problem import BLOCKS, DENSE, FILTERS, HEADS, HIDDEN, TASKS, WIDER, WIDTH, WORDS, Losses, rows, ways
from torch import nn
from torch.nn.functional import cross_entropy

PACKAGES = ("torch", "numpy")
torch.set_num_threads(1)


class Mlp(nn.Sequential):
    """Two hidden layers."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        first, second = HIDDEN
        hidden = (nn.Linear(shape[0], first), nn.ReLU(), nn.Linear(first, second), nn.ReLU())
        super().__init__(*hidden, nn.Linear(second, classes))


class Cnn(nn.Module):
    """A convolution, pooling, a hidden layer."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        height, width, channels = shape
        self.convolution = nn.Conv2d(channels, FILTERS, 3, padding="same")
        self.dense = nn.Linear(height // 2 * (width // 2) * FILTERS, DENSE)
        self.out = nn.Linear(DENSE, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = (x.permute(0, 3, 1, 2).float() - 127.5) / 63.75
        x = torch.relu(nn.functional.max_pool2d(self.convolution(x), 2))
        return self.out(torch.relu(self.dense(x.flatten(1))))


class Lstm(nn.Module):
    """The mean of the states."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(WORDS, WIDTH), nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.out(self.lstm(self.embedding(x))[0].mean(1))


class Transformer(nn.Module):
    """Blocks of attention and a hidden layer, normalised first."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(shape[0], WIDTH))
        told: Any = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        block = nn.TransformerEncoderLayer(WIDTH, HEADS, WIDER * WIDTH, **told)
        self.blocks = nn.TransformerEncoder(block, BLOCKS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.out(self.blocks(self.embedding(x) + self.place).mean(1))


NETS = {"mlp": Mlp, "cnn": Cnn, "lstm": Lstm, "transformer": Transformer}


class Training:
    """One network and its rows."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        task = TASKS[name]
        x_n, y_n = rows(name)
        self.x_n, self.y_n = torch.from_numpy(x_n), torch.from_numpy(y_n).long()
        self.x_n = self.x_n if name in ("mlp", "cnn") else self.x_n.long()
        self.model, self.batch = NETS[name](task.shape, task.classes), task.batch
        self.rule = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)

    def epochs(self, count: int) -> Losses:
        """So many more epochs."""
        for _ in range(count):
            for at_b in torch.randperm(len(self.y_n)).split(self.batch):
                loss = cross_entropy(self.model(self.x_n[at_b]), self.y_n[at_b])
                self.rule.zero_grad()
                loss.backward()
                self.rule.step()
        return lambda: [loss.item()]


WAYS = ways(Training)
