"""The generator: shapes, folding, and what it refuses."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from CoWLandmarksLib.core.errors import ModelError
from CoWLandmarksLib.networks.generator import (
    Generator,
    GeneratorConfig,
    MirroredPair,
    ResidualBlock,
    SingleReading,
    depth_to_space,
    space_to_depth,
)


def seeded(config: GeneratorConfig) -> Generator:
    torch.manual_seed(3)
    return Generator(config).eval()


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_unfolding_undoes_folding(fold: int) -> None:
    x = torch.arange(2 * 3 * 6 * 12 * 18, dtype=torch.float32).reshape(2, 3, 6, 12, 18)
    folded = space_to_depth(x, fold)
    assert folded.shape == (2, 3 * fold**3, 6 // fold, 12 // fold, 18 // fold)
    torch.testing.assert_close(depth_to_space(folded, fold), x, rtol=0, atol=0)


def test_folding_gathers_each_block_at_its_own_place() -> None:
    x = torch.arange(4 * 4 * 4, dtype=torch.float32).reshape(1, 1, 4, 4, 4)
    folded = space_to_depth(x, 2)
    # The block in the middle of nothing: k = 2..3, j = 0..1, i = 2..3 becomes the eight channels of voxel (1, 0, 1).
    expected = [float(x[0, 0, k, j, i]) for k, j, i in product((2, 3), (0, 1), (2, 3))]
    assert folded[0, :, 1, 0, 1].tolist() == expected


@pytest.mark.parametrize(
    ("config", "multiple"),
    [
        (GeneratorConfig(base_width=4, levels=1), 1),
        (GeneratorConfig(base_width=4, levels=3), 4),
        (GeneratorConfig(in_channels=2, out_channels=5, base_width=4, levels=2, fold=2), 4),
    ],
)
def test_heatmaps_have_the_shape_of_the_image(config: GeneratorConfig, multiple: int) -> None:
    network = seeded(config)
    assert network.multiple == multiple
    image = torch.rand(2, config.in_channels, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert network(image).shape == (2, config.out_channels, 4, 8, 12)


@pytest.mark.parametrize("shape", [(4, 4, 6), (2, 4, 4), (5, 4, 4)])
def test_a_side_that_does_not_fit_is_refused_with_a_sentence(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ModelError, match=r"multiples of 4, not \(.*\)\.$"):
        seeded(GeneratorConfig(base_width=4, levels=3))(torch.zeros(1, 1, *shape))


def test_the_output_is_linear_and_may_be_negative() -> None:
    network = seeded(GeneratorConfig(base_width=4, levels=2))
    with torch.inference_mode():
        before = network(torch.rand(1, 1, 4, 4, 4, generator=torch.Generator().manual_seed(1)))
        network.head.bias += 3.0
        after = network(torch.rand(1, 1, 4, 4, 4, generator=torch.Generator().manual_seed(1)))
    assert float(before.min()) < 0.0
    torch.testing.assert_close(after, before + 3.0)


def test_widths_double_per_level_up_to_the_limit() -> None:
    network = seeded(GeneratorConfig(base_width=4, levels=4, max_width=10))
    assert [encoder.first.out_channels for encoder in network.encoders] == [4, 8, 10, 10]


def test_a_residual_block_of_zero_convolutions_is_its_shortcut() -> None:
    block = ResidualBlock(3, 3)
    for norm in (block.first_norm, block.second_norm):
        torch.nn.init.zeros_(norm.weight)
    x = torch.rand(1, 3, 2, 2, 2, generator=torch.Generator().manual_seed(5)) - 0.5
    torch.testing.assert_close(block(x), x.clamp_min(0.0))


def test_every_part_of_the_network_learns() -> None:
    network = seeded(GeneratorConfig(base_width=4, levels=3, fold=2)).train()
    network(torch.rand(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_the_skip_of_the_finest_level_carries_detail_that_the_coarse_levels_cannot() -> None:
    network = seeded(GeneratorConfig(base_width=4, levels=2))
    image = torch.zeros(1, 1, 8, 8, 8)
    image[0, 0, 3, 4, 4] = 5.0
    with torch.inference_mode():
        response = network(image)[0].std(dim=0)
    assert float(response[3, 4, 4]) > 0.0
    assert not torch.allclose(response[2, 4, 4], response[3, 4, 4])


def test_a_configuration_survives_the_round_trip_through_plain_values() -> None:
    config = GeneratorConfig(in_channels=2, base_width=6, levels=3, fold=2)
    assert GeneratorConfig(**config.to_dict()) == config


@pytest.mark.parametrize("with_priors", [False, True], ids=["image only", "image and priors"])
def test_a_mirrored_pair_reads_a_scan_and_its_mirror_image_alike(with_priors: bool) -> None:
    torch.manual_seed(4)
    permutation = (1, 0, 2)
    channels = 4 if with_priors else 2
    network = Generator(GeneratorConfig(in_channels=channels, out_channels=3, base_width=8, levels=2)).eval()
    read = MirroredPair(network, permutation, with_priors)
    x = torch.randn(1, channels, 8, 8, 8)
    exchanged = [0, 2, 1, 3] if with_priors else [0, 1]
    one = read(x)
    other = read(torch.flip(x, dims=(4,))[:, exchanged])
    torch.testing.assert_close(other, torch.flip(one, dims=(4,))[:, list(permutation)])
    assert not torch.allclose(SingleReading(network)(x), one)


@pytest.mark.parametrize("depth", [2, 4, 6, 8], ids=lambda depth: f"deepest level {depth // 2} voxels deep")
def test_gradients_in_mixed_precision_are_those_of_full_precision(depth: int) -> None:
    network = seeded(GeneratorConfig(base_width=16, levels=2)).to(memory_format=torch.channels_last_3d)
    image, target = torch.rand(2, 1, depth, 16, 16), torch.rand(2, 19, depth, 16, 16)

    def gradients(mixed: bool) -> list[torch.Tensor]:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            heatmaps = network(image.to(memory_format=torch.channels_last_3d))
        (heatmaps.float() - target).square().mean().backward()
        return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]

    for exact, mixed in zip(gradients(False), gradients(True), strict=True):
        assert float((mixed - exact).norm()) < 0.15 * float(exact.norm())
