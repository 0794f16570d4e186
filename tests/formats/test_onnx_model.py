import onnx

from stages.formats import onnx_model


def test_an_onnx_graph_is_named_and_sorted_by_the_order_of_use():
    def graph(p, q, y, order):
        constants = [onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, [1], [k]) for k, name in enumerate([p, q])]
        nodes = [
            onnx.helper.make_node("Add", ["images", p], [y], f"{y}__3"),
            onnx.helper.make_node("Mul", [y, q], ["probabilities"]),
        ]
        made = onnx.helper.make_graph(nodes, "g", [], [], [constants[k] for k in order])
        onnx_model.make_reproducible(made)
        return made

    first, second = graph("p", "q", "y", [0, 1]), graph("q", "p", "z", [1, 0])
    assert first == second
    assert [list(x.float_data) for x in first.initializer] == [[0], [1]]
    assert first.node[0].input[0] == "images" and first.node[1].output[0] == "probabilities"
