"""Shorter graphs: what nobody reads goes, a product with a bias becomes Gemm, a written-out softmax one Softmax."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import onnx
from onnx import helper

from tidemill.training.export.graph import Graph


def rewrite(graph: Graph, finals: Mapping[str, str]) -> list[onnx.NodeProto]:
    """The nodes that the final tensors need, shortened; `finals` says how the final tensors are called."""
    return [_renamed(node, finals) for node in shortened(graph, set(finals))]


def shortened(graph: Graph, finals: set[str]) -> list[onnx.NodeProto]:
    """The nodes of a graph or a body that the final tensors need, with the patterns replaced."""
    nodes = alive(graph.nodes, finals)
    for shorten in (_softmax, _gemm):
        nodes = alive(shorten(nodes, _Reader(nodes, finals, graph)), finals)
    return nodes


def reads(node: onnx.NodeProto) -> set[str]:
    """What a node reads, in its bodies too."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            names |= {output.name for output in attribute.g.output}
            names |= {name for inner in attribute.g.node for name in reads(inner)}
    return names


def alive(nodes: list[onnx.NodeProto], needed: set[str]) -> list[onnx.NodeProto]:
    """The nodes whose outputs are needed."""
    needed, kept = set(needed), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed |= reads(node)
            kept.append(node)
    return kept[::-1]


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    made = onnx.NodeProto()
    made.CopyFrom(node)
    made.input[:] = [names.get(name, name) for name in node.input]
    made.output[:] = [names.get(name, name) for name in node.output]
    for attribute in made.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            inner = [_renamed(item, names) for item in attribute.g.node]
            del attribute.g.node[:]
            attribute.g.node.extend(inner)
    return made


class _Reader:
    """Who makes a tensor, and how often it is read."""

    def __init__(self, nodes: list[onnx.NodeProto], finals: set[str], graph: Graph) -> None:
        self.makers = {name: node for node in nodes for name in node.output}
        self.uses = Counter(name for node in nodes for name in [*node.input, *(reads(node) - set(node.input))])
        self.uses.update(finals)
        self.constants = graph.root.initializers
        self.shapes = graph.root.shapes

    def made_by(self, name: str, op: str, uses: int = 1) -> onnx.NodeProto | None:
        """The node of this operator that makes a tensor read this often."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type == op and self.uses[name] == uses else None


def _softmax(nodes: list[onnx.NodeProto], reader: _Reader) -> list[onnx.NodeProto]:
    """exp(x - max x) / sum exp(x - max x) along the same axis."""
    changed = []
    for node in nodes:
        found = _softmax_of(node, reader) if node.op_type == "Div" else None
        changed.append(helper.make_node("Softmax", [found[0]], list(node.output), axis=found[1]) if found else node)
    return changed


def _softmax_of(divide: onnx.NodeProto, reader: _Reader) -> tuple[str, int] | None:
    exp, total = reader.made_by(divide.input[0], "Exp", 2), reader.made_by(divide.input[1], "ReduceSum")
    if exp is None or total is None or total.input[0] != exp.output[0]:
        return None
    shifted = reader.made_by(exp.input[0], "Sub")
    largest = shifted and reader.made_by(shifted.input[1], "ReduceMax")
    if shifted is None or not largest or largest.input[0] != shifted.input[0] or largest.input[1] != total.input[1]:
        return None
    axes = reader.constants.get(total.input[1])
    kept = all(helper.get_node_attr_value(item, "keepdims") == 1 for item in (largest, total))
    return (shifted.input[0], int(axes[0])) if kept and axes is not None and axes.size == 1 else None


def _gemm(nodes: list[onnx.NodeProto], reader: _Reader) -> list[onnx.NodeProto]:
    """x W + b, for a matrix x and a bias per column; also x W^T + b."""
    changed = []
    for node in nodes:
        found = _gemm_of(node, reader) if node.op_type == "Add" else None
        changed.append(found or node)
    return changed


def _gemm_of(add: onnx.NodeProto, reader: _Reader) -> onnx.NodeProto | None:
    for product_name, bias in (tuple(add.input), tuple(add.input)[::-1]):
        product = reader.made_by(product_name, "MatMul")
        shape = reader.shapes.get(product_name)
        if product is None or shape is None or any(len(reader.shapes.get(name, ())) != 2 for name in product.input):
            continue
        if reader.shapes.get(bias) not in ((), (shape[-1],)):
            continue
        left, right = product.input
        turned = reader.makers.get(right)
        if turned is not None and turned.op_type == "Transpose":  # of a matrix, so its axes are swapped
            return helper.make_node("Gemm", [left, turned.input[0], bias], list(add.output), transB=1)
        return helper.make_node("Gemm", [left, right, bias], list(add.output))
    return None
