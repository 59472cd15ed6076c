"""A block of a vision transformer (Dosovitskiy et al. 2021), in timm's parameter names.

Attention is torch's fused one. A block may answer for some of its tokens only: what is asked of
the last block of a decoder is often no more than that.
"""

import torch
from torch import Tensor, nn

EPSILON = 1e-6
"""Of layer norms, as published; torch's default is 1e-5."""


class Attention(nn.Module):
    """Multi-head self-attention; each head has ``width / heads`` channels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, asked: Tensor | None = None) -> Tensor:
        """Turn ``(B, n, width)`` into ``(B, n, width)``, or ``(B, m, width)``.

        Args:
            tokens: of which each sees all.
            asked: ``(B, m)`` int64, which of them an answer is wanted for; None = all.
        """
        if asked is None:
            queries, keys, values = self._split(self.qkv(tokens), 3)
        else:
            width = tokens.shape[2]
            weight, bias = self.qkv.weight, self.qkv.bias
            linear = nn.functional.linear
            (queries,) = self._split(
                linear(picked(tokens, asked), weight[:width], bias[:width]), 1
            )
            keys, values = self._split(linear(tokens, weight[width:], bias[width:]), 2)
        answer = softmax_attention(queries, keys, values)
        joined: Tensor = self.proj(answer.transpose(1, 2).flatten(2))
        return joined

    def class_weights(self, tokens: Tensor) -> Tensor:
        """Return how much the first token attends to each of the others, ``(B, n - 1)``.

        The mean over the heads; a row sums to less than 1, as the first token sees itself too.
        """
        queries, keys, _ = self._split(self.qkv(tokens), 3)
        scores = queries[:, :, :1] @ keys.transpose(2, 3) / queries.shape[3] ** 0.5
        weights: Tensor = scores.softmax(dim=3)[:, :, 0, 1:].mean(dim=1)
        return weights

    def _split(self, joined: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Turn ``(B, n, parts * width)`` into ``parts`` of ``(B, heads, n, width / heads)``."""
        b, n, width = joined.shape
        shape = (b, n, parts, self.heads, width // (parts * self.heads))
        return joined.reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)


def softmax_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return what softmax attention answers, ``(B, heads, m, channels)``.

    Of bfloat16 on a CPU it is computed in float32: there, torch's backward pass of the fused
    attention takes nine times as long in bfloat16, more than all other layers together.
    """
    if queries.device.type != "cpu" or queries.dtype != torch.bfloat16:
        return nn.functional.scaled_dot_product_attention(queries, keys, values)
    with torch.autocast("cpu", enabled=False):
        return nn.functional.scaled_dot_product_attention(
            queries.float(), keys.float(), values.float()
        )


class Mlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, tokens: Tensor) -> Tensor:
        answer: Tensor = self.fc2(nn.functional.gelu(self.fc1(tokens)))
        return answer


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm and beside a shortcut.

    Args:
        width: channels of a token.
        heads: of attention.
        attention: what stands in its place; None = softmax attention.
    """

    drop_path: float = 0.0
    """Share of a batch's images for which, in training, a branch is left out (Huang et al.
    2016); the others' weigh the more."""

    def __init__(self, width: int, heads: int, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attn = Attention(width, heads) if attention is None else attention
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, tokens: Tensor, asked: Tensor | None = None) -> Tensor:
        """Turn ``(B, n, width)`` into as much, or into ``(B, m, width)`` where ``asked``.

        ``asked`` ``(B, m)`` int64 are numbers of tokens, and needs softmax attention.
        """
        seen = self.norm1(tokens)
        if asked is None:
            answer = self.attn(seen)
        else:
            answer, tokens = self.attn(seen, asked), picked(tokens, asked)
        tokens = tokens + self._dropped(answer)
        return tokens + self._dropped(self.mlp(self.norm2(tokens)))

    def _dropped(self, branch: Tensor) -> Tensor:
        if not (self.training and self.drop_path):
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop_path
        return branch * kept / (1 - self.drop_path)


def picked(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Return the tokens ``numbers`` ``(B, m)`` of ``tokens`` ``(B, n, width)``."""
    return tokens.gather(1, numbers[:, :, None].expand(-1, -1, tokens.shape[2]))


def initialise(network: nn.Module) -> None:
    """Draw linear layers by Xavier's uniform rule, biases 0, as MAE's authors."""
    for module in network.modules():
        # Without memory there is nothing to draw, and torch would import its compiler for it.
        if isinstance(module, nn.Linear) and not module.weight.is_meta:
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
