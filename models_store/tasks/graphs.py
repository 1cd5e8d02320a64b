"""Graphs of files, read backwards from their output, to find what an answer is made of."""

import onnx
from onnx import numpy_helper

UNCHANGING = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"}
"""operations that keep values, but for rounding"""
ACTIVATIONS = {"Softmax", "Sigmoid"}


class Graph:
    """Nodes of a graph by what they make."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._output = graph.output[0].name
        self._nodes = graph.node
        self._made_by = {name: node for node in graph.node for name in node.output}
        self._initializers = {each.name: each for each in graph.initializer}

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that makes a tensor."""
        return self._made_by.get(name)

    def behind(self, name: str, passed: set[str] = UNCHANGING) -> onnx.NodeProto | None:
        """Return the last node before a tensor that is none of the operations `passed`."""
        node = self.producer(name)
        while node is not None and node.op_type in passed:
            node = self.producer(node.input[0])
        return node

    def before_activation(self) -> onnx.NodeProto | None:
        """Return the node that makes the logits, before a temperature divides them, or the numbers."""
        node = self.behind(self._output, UNCHANGING | ACTIVATIONS)
        while node is not None and node.op_type == "Div" and self.is_constant(node.input[1]):
            node = self.behind(node.input[0])
        return node

    def is_constant(self, name: str) -> bool:
        """Return whether a tensor depends on no example."""
        node = self.producer(name)
        if node is None:
            return name in self._initializers
        return all(self.is_constant(each) for each in node.input if each)

    def is_made_of(self, name: str, operation: str) -> bool:
        """Return whether an operation is among those that a tensor is made by."""
        waiting, seen = [name], {name}
        while waiting:
            node = self.producer(waiting.pop())
            if node is None:
                continue
            if node.op_type == operation:
                return True
            waiting += {*node.input} - seen
            seen |= {*node.input}
        return False

    def numbers(self, name: str) -> list[int] | None:
        """Return a constant's whole numbers; None: it is none."""
        tensor, node = self._initializers.get(name), self.producer(name)
        if tensor is None and node is not None and node.op_type == "Constant":
            for each in node.attribute:
                if each.name == "value":
                    tensor = each.t
                elif each.name in {"value_int", "value_ints"}:
                    return [int(number) for number in (each.ints or [each.i])]
        return None if tensor is None else [int(number) for number in numpy_helper.to_array(tensor).flatten()]

    def all_of(self, operation: str) -> list[onnx.NodeProto]:
        """Return the nodes of an operation, in their order."""
        return [node for node in self._nodes if node.op_type == operation]

    @staticmethod
    def attribute(node: onnx.NodeProto, name: str, default: float) -> float:
        """Return a number among a node's attributes."""
        return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
