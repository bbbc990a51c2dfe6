"""The word ``after``: a layer waits for what it needs of either lane, and no longer."""

from __future__ import annotations

import pytest
from models import network
from planned_layers import CONFIG, gemm, program, region, unit

from qvit_hls.hw.descriptor import After, Descriptor, Destination, Memory, Scaling, Unit
from qvit_hls.hw.scheduling.dependencies import dependencies
from qvit_hls.hw.scheduling.plan import Plan, PlannedLayer, Region
from qvit_hls.hw.scheduling.vector import plan_layer_norm

X = region(Memory.ACTIVATION, 0, 20, 16)
H = region(Memory.ACTIVATION, 64, 20, 24)
OTHER = region(Memory.ACTIVATION, 256, 20, 24)
KEYS = region(Memory.DIGIT, 0, 20, 16)
EXPONENTS = region(Memory.DIGIT, 512, 20, 20)
RESIDUAL = region(Memory.WIDE, 0, 20, 16)
SCORES = region(Memory.WIDE, 64, 20, 20)
OTHER_SCORES = region(Memory.WIDE, 256, 20, 20)

ADD = gemm(X, RESIDUAL, destination=Destination.WIDE_ADD)
NORM = unit(Unit.LAYER_NORM, RESIDUAL, H, rows=16)
SOFTMAX = unit(Unit.SOFTMAX, SCORES, EXPONENTS)
CONTEXT = gemm(X, OTHER, EXPONENTS, Destination.ACTIVATION_TRANSPOSED, Scaling.RECIPROCAL)


def scores(y: Region = SCORES) -> PlannedLayer:
    return gemm(H, y, KEYS, Destination.SCORES, Scaling.CONSTANT)


def after(*layers: PlannedLayer) -> list[After]:
    return dependencies(layers, CONFIG)


NOTHING = After()
FIRST_GEMM = After(gemms=1)
FIRST_GEMM_BY_TILE = After(gemms=1, gemm_by_tile=True)


def test_an_operand_that_nothing_wrote_waits_for_nothing() -> None:
    assert after(gemm(X, H), gemm(OTHER, X)) == [NOTHING, NOTHING]


def test_an_operand_waits_for_its_last_writer_and_not_for_layers_between() -> None:
    waits = after(gemm(OTHER, X), gemm(OTHER, X), gemm(OTHER, H), gemm(Region(X.tensor, 8, 8), OTHER))
    assert waits == [NOTHING, NOTHING, NOTHING, After(gemms=2)]


def test_layers_are_counted_in_the_lane_that_runs_them() -> None:
    other_norm = unit(Unit.LAYER_NORM, SCORES, X, rows=20)
    waits = after(other_norm, gemm(OTHER, RESIDUAL), NORM, gemm(Region(H.tensor, 8, 8), OTHER))
    assert waits[2:] == [After(gemms=1), After(vectors=2)]


def test_a_layer_goes_by_token_tile_behind_the_layer_that_writes_its_operand_so() -> None:
    assert after(gemm(X, H), gemm(H, OTHER))[1] == FIRST_GEMM_BY_TILE
    assert after(gemm(X, H), gemm(X, OTHER), gemm(H, X))[2] == FIRST_GEMM_BY_TILE
    assert after(ADD, NORM)[1] == FIRST_GEMM_BY_TILE
    assert after(scores(), SOFTMAX)[1] == FIRST_GEMM_BY_TILE
    assert after(NORM, gemm(H, OTHER))[1] == After(vectors=1, vector_by_tile=True)


def test_only_the_whole_operand_goes_by_token_tile() -> None:
    def last(read: Region) -> After:
        return after(gemm(X, H), gemm(read, OTHER))[1]

    assert last(Region(H.tensor, 8, 8)) == FIRST_GEMM  # from a later word on
    assert last(region(Memory.ACTIVATION, 64, 20, 16)) == FIRST_GEMM  # token tiles are closer together
    assert last(region(Memory.ACTIVATION, 64, 21, 24)) == FIRST_GEMM  # more tokens
    assert last(region(Memory.ACTIVATION, 64, 3, 24)) == FIRST_GEMM_BY_TILE
    assert last(Region(H.tensor, 8)) == FIRST_GEMM_BY_TILE


def test_transposed_results_exponents_and_digits_do_not_go_by_token_tile() -> None:
    transposed = gemm(X, H, destination=Destination.ACTIVATION_TRANSPOSED)
    assert after(transposed, gemm(H, OTHER))[1] == FIRST_GEMM
    keys = gemm(X, KEYS, destination=Destination.DIGIT)
    assert after(keys, gemm(X, OTHER), scores())[2] == FIRST_GEMM
    assert after(SOFTMAX, CONTEXT)[1] == After(vectors=1)


def test_an_accumulated_result_is_read() -> None:
    assert after(ADD, gemm(OTHER, H), ADD)[2] == FIRST_GEMM
    write = gemm(X, RESIDUAL, destination=Destination.WIDE)
    assert after(write, gemm(OTHER, H), write)[2] == NOTHING


def test_within_the_lane_of_gemms_nothing_waits_for_readers() -> None:
    assert after(gemm(X, H), gemm(OTHER, X)) == [NOTHING, NOTHING]


def test_what_the_other_lane_still_reads_or_writes_is_not_overwritten() -> None:
    write = gemm(X, SCORES, destination=Destination.WIDE)
    assert after(SOFTMAX, write)[1] == After(vectors=1)
    assert after(NORM, gemm(X, H))[1] == After(vectors=1)
    assert after(gemm(H, OTHER), NORM)[1] == FIRST_GEMM
    assert after(gemm(X, H), NORM)[1] == FIRST_GEMM
    assert after(gemm(X, OTHER, EXPONENTS), SOFTMAX)[1] == FIRST_GEMM


def test_maxima_and_normalizers_have_two_banks() -> None:
    def heads(count: int) -> list[After]:
        layers = []
        for head in range(count):
            y = region(Memory.WIDE, 128 * head, 20, 20)
            exponents = region(Memory.DIGIT, 512 + 128 * head, 20, 20)
            x, result = (region(Memory.ACTIVATION, base + 128 * head, 20, 16) for base in (512, 2048))
            product = gemm(x, result, exponents, Destination.ACTIVATION_TRANSPOSED, Scaling.RECIPROCAL)
            layers += [scores(y), unit(Unit.SOFTMAX, y, exponents), product]
        return after(*layers)

    assert heads(4) == [
        *(NOTHING, After(gemms=1, gemm_by_tile=True), After(vectors=1)),
        *(NOTHING, After(gemms=3, gemm_by_tile=True), After(vectors=2)),
        # The maxima of the first head and its normalisers make way for those of the third.
        *(After(vectors=1), After(gemms=5, gemm_by_tile=True), After(vectors=3)),
        *(After(vectors=2), After(gemms=7, gemm_by_tile=True), After(vectors=4)),
    ]


def test_a_softmax_waits_for_the_context_whose_normalizers_it_overwrites() -> None:
    def only_softmax(head: int) -> PlannedLayer:
        return unit(
            Unit.SOFTMAX,
            region(Memory.WIDE, 128 * head, 20, 20),
            region(Memory.DIGIT, 1024 + 128 * head, 20, 20),
        )

    waits = after(only_softmax(0), only_softmax(1), CONTEXT, only_softmax(2), only_softmax(3))
    assert [wait.gemms for wait in waits] == [0, 0, 0, 1, 0]


def test_moments_belong_to_one_addition_at_a_time() -> None:
    elsewhere = gemm(X, SCORES, destination=Destination.WIDE_ADD)
    assert after(ADD, NORM, elsewhere)[2] == After(vectors=1)
    # A LayerNorm that takes its moments itself puts them where those of additions are.
    own = unit(Unit.LAYER_NORM, OTHER_SCORES, H)
    assert after(ADD, own)[1] == FIRST_GEMM
    assert after(own, ADD)[1] == After(vectors=1)


@pytest.mark.parametrize(
    "alone",
    [
        unit(Unit.LOAD_RESIDUAL, y=OTHER_SCORES),
        unit(Unit.MEAN_TOKENS, OTHER_SCORES, region(Memory.WIDE, 512, 1, 20)),
        unit(Unit.STORE_RESULT, OTHER_SCORES),
    ],
    ids=lambda layer: layer.name,
)
def test_units_that_do_not_give_way_run_while_no_gemm_does(alone: PlannedLayer) -> None:
    waits = after(gemm(X, H), NORM, gemm(X, OTHER), alone, gemm(OTHER, X))
    assert waits[3] == After(gemms=2, vectors=1)
    assert waits[4].vectors == 2


def test_every_gemm_waits_for_the_image_but_the_image_for_nothing() -> None:
    image = unit(Unit.LOAD_IMAGE, y=X)
    constant = unit(Unit.LOAD_RESIDUAL, y=RESIDUAL)
    assert after(image, constant, gemm(OTHER, H)) == [NOTHING, NOTHING, After(vectors=2)]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_transformers_layers(pooling: str) -> None:
    layers = program(pooling).layers
    found = {layer.name: After.of_word(layer.descriptor.after) for layer in layers}
    done: dict[str, int] = {}
    for lane in (True, False):
        names = [layer.name for layer in layers if (layer.descriptor.unit == Unit.GEMM) == lane]
        done |= {name: count for count, name in enumerate(names, 1)}
    block, last = "blocks.0", "blocks.1"

    for part in ("q", "k", "v[0]", "v[1]", "v[2]"):
        wait = found[f"{block}.attn.{part}"]
        assert (wait.vectors, wait.vector_by_tile) == (done[f"{block}.norm1"], True)
    for head in range(3):
        assert found[f"{block}.attn.scores[{head}]"].gemms == done[f"{block}.attn.k"]
        wait = found[f"{block}.attn.softmax[{head}]"]
        assert (wait.gemms, wait.gemm_by_tile) == (done[f"{block}.attn.scores[{head}]"], True)
        wait = found[f"{block}.attn.context[{head}]"]
        assert (wait.vectors, wait.vector_by_tile) == (done[f"{block}.attn.softmax[{head}]"], False)
    wait = found[f"{block}.attn.proj"]
    assert (wait.gemms, wait.gemm_by_tile) == (done[f"{block}.attn.context[2]"], False)
    for norm, addition in (
        *(("blocks.0.norm1", "patch_embed"), ("blocks.0.norm2", "blocks.0.attn.proj")),
        *(("blocks.1.norm1", "blocks.0.mlp.fc2"), ("blocks.1.norm2", "blocks.1.attn.proj")),
    ):
        assert (found[norm].gemms, found[norm].gemm_by_tile) == (done[addition], True)
    assert (found[f"{last}.mlp.fc1"].vectors, found[f"{last}.mlp.fc1"].vector_by_tile) == (
        done[f"{last}.norm2"],
        True,
    )
    assert (found[f"{last}.mlp.fc2"].gemms, found[f"{last}.mlp.fc2"].gemm_by_tile) == (
        done[f"{last}.mlp.fc1"],
        True,
    )
    assert found["result"] == After(done["head"], done["result"] - 1)


def test_moments_come_from_the_drain_where_an_addition_wrote_all_that_is_normalized() -> None:
    for pooling, own in (("cls", []), ("mean", ["norm"])):
        layers = program(pooling).layers
        norms = [layer for layer in layers if layer.descriptor.unit == Unit.LAYER_NORM]
        assert [layer.name for layer in norms if layer.descriptor.rows == 0] == own
        assert all(layer.descriptor.rows in (0, layer.descriptor.k) for layer in norms)


def test_moments_come_from_the_drain_only_while_they_are_those_of_this_value() -> None:
    graph = network(pooling="mean")
    node = graph["norm"]
    x = region(Memory.WIDE, 0, 9, 12)

    def rows(*before: PlannedLayer) -> int:
        plan = Plan(graph, CONFIG, graph.users(), layers=list(before), values={node.inputs[0]: [x]})
        plan_layer_norm(plan, node)
        return plan.layers[-1].descriptor.rows

    def addition(to: Region, rows: int, tokens: int = 9) -> PlannedLayer:
        descriptor = Descriptor(unit=Unit.GEMM, tokens=tokens, rows=rows, destination=Destination.WIDE_ADD)
        return PlannedLayer("addition", descriptor, y=to)

    assert rows() == 0
    assert rows(addition(x, 12)) == 12
    assert rows(addition(x, 12), gemm(X, H)) == 12
    assert rows(addition(x, 12, tokens=0)) == 0
    assert rows(addition(x, 11)) == 0
    assert rows(addition(Region(x.tensor, 4, 8), 4)) == 0
    assert rows(addition(x, 12), addition(RESIDUAL, 16)) == 0
    assert rows(addition(x, 12), unit(Unit.LAYER_NORM, RESIDUAL, H)) == 0


def test_an_image_makes_way_when_the_last_gemm_that_reads_it_is_complete() -> None:
    first = program("cls").layers[0].descriptor
    assert (first.unit, first.rows) == (Unit.LOAD_IMAGE, 1)
