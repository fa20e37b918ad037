"""Networks: sizes, options, and weights that come from the given generator alone."""

import pytest
import torch
from torch import nn

from fl_attack_bench import models
from fl_attack_bench.errors import UnknownNameError, UserError
from fl_attack_bench.tasks.horizontal import Model
from fl_attack_bench.update import Layout

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def build(name, shape=GREY, classes=10, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return models.build(Model(name=name, options=options), shape, classes, generator)


def outputs_of(name, classes=10):
    return 1 if name == "linear_regression" else classes


@pytest.mark.parametrize(
    ("name", "shape", "options", "parameters", "features"),
    [
        ("lenet_dlg", GREY, {}, 13_426, 588),
        ("lenet_dlg", COLOUR, {}, 15_826, 768),
        ("lenet5", GREY, {}, 61_706, 84),
        ("lenet5", COLOUR, {"pool": "avg", "activation": "tanh"}, 83_126, 84),
        ("convnet", COLOUR, {}, 2_904_970, 2_304),
        ("convnet", COLOUR, {"width": 8, "norm": "none"}, 48_234, 288),
        ("vgg16", COLOUR, {}, 14_728_266, 512),
        ("mlp", GREY, {}, 101_770, 128),
        ("mlp", GREY, {"hidden": 7, "activation": "sigmoid"}, 5_575, 7),
        ("logistic", GREY, {}, 7_850, 784),
        ("logistic", COLOUR, {}, 30_730, 3_072),
        ("linear_regression", (1, 1, 10), {}, 11, 10),
        ("linear_regression", COLOUR, {}, 3_073, 3_072),
    ],
)
def test_sizes(name, shape, options, parameters, features):
    outputs = outputs_of(name)
    network = build(name, shape, outputs, **options)
    assert Layout.of(network).size == parameters
    assert network.classifier.in_features == features
    network.eval()
    assert network(torch.rand(2, *shape)).shape == (2, outputs)


@pytest.mark.parametrize("name", models.names())
def test_the_generator_is_the_only_randomness(name):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    outputs = outputs_of(name)
    first = build(name, COLOUR, outputs, seed=4).state_dict()
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(5)
    again, other = (build(name, COLOUR, outputs, seed=seed).state_dict() for seed in (4, 5))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])
    assert all(value.isfinite().all() for value in first.values())


@pytest.mark.parametrize("name", models.names())
def test_layers_that_the_attacks_hook_are_called_once_and_all_can_learn(name):
    network = build(name, COLOUR, outputs_of(name, 3))
    calls: list[nn.Module] = []
    with_parameters = [m for m in network.modules() if list(m.parameters(recurse=False))]
    for module in with_parameters:
        module.register_forward_hook(lambda module, *_: calls.append(module))
    network(torch.rand(2, *COLOUR)).square().sum().backward()
    assert sorted(map(id, calls)) == sorted(map(id, with_parameters))
    assert {type(m) for m in with_parameters} <= {nn.Conv2d, nn.Linear, nn.BatchNorm2d}
    assert all(p.grad is not None and p.is_leaf and p.device.type == "cpu" for p in network.parameters())


@pytest.mark.parametrize("name", models.names())
def test_other_shapes_work_down_to_the_smallest(name):
    smallest = models.describe(name).smallest
    for side in (smallest, smallest + 1, smallest + 5):
        network = build(name, (2, side, side + 3), outputs_of(name, 4)).eval()
        assert network(torch.rand(1, 2, side, side + 3)).shape == (1, outputs_of(name, 4))
    if smallest > 1:
        with pytest.raises(UserError, match=f"at least {smallest}x{smallest}.*got {smallest - 1}x40"):
            build(name, (2, smallest - 1, 40))


@pytest.mark.parametrize("scale", [0.5, 0.1])
def test_lenet_dlg_is_uniform_with_biases(scale):
    network = build("lenet_dlg", scale=scale)
    for _, parameter in network.named_parameters():
        assert parameter.abs().max() <= scale
    weights = torch.cat([p.flatten() for p in network.parameters()])
    assert weights.max() > 0.99 * scale
    assert weights.min() < -0.99 * scale
    assert weights.mean().abs() < 0.02 * scale
    assert abs(weights.std() - scale / 3**0.5) < 0.02 * scale
    biases = torch.cat([p for name, p in network.named_parameters() if name.endswith("bias")])
    assert biases.abs().max() > 0.8 * scale


def test_the_others_have_pytorchs_default_range():
    for _, module in build("lenet5").named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = module.weight[0].numel() ** -0.5
            assert 0.9 * bound < module.weight.abs().max() <= bound
            assert 0 < module.bias.abs().max() <= bound


def test_batch_norm_starts_neutral():
    for name in ("convnet", "vgg16"):
        layers = [m for m in build(name, COLOUR).modules() if isinstance(m, nn.BatchNorm2d)]
        assert layers
        for layer in layers:
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()
            assert (layer.running_mean == 0).all()
            assert (layer.running_var == 1).all()
            assert layer.num_batches_tracked == 0
        assert "running statistics" in models.describe(name).batch_norm
    assert not [m for m in build("convnet", COLOUR, norm="none").modules() if isinstance(m, nn.BatchNorm2d)]


def test_vgg16_passes_signal_in_evaluation_mode_before_training():
    network = build("vgg16", COLOUR).eval()
    images = torch.rand(4, *COLOUR)
    assert network.features(images).std() > 0.01


def test_normalisation_lives_inside():
    plain, inside = build("lenet5", COLOUR), build("lenet5", COLOUR, normalise="cifar10")
    mean = torch.tensor([0.4914672, 0.4822617, 0.4467701]).view(3, 1, 1)
    std = torch.tensor([0.2470322, 0.2434851, 0.2615879]).view(3, 1, 1)
    images = torch.rand(2, *COLOUR)
    assert torch.allclose(inside(images), plain((images - mean) / std), atol=1e-5)
    assert plain.state_dict().keys() == inside.state_dict().keys()
    with pytest.raises(UserError, match="3 channels, the images have 1"):
        build("lenet5", GREY, normalise="cifar10")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("lenet5", {"activaton": "relu"}, "model 'lenet5'.*did you mean 'activation'"),
        ("lenet5", {"activation": "rleu"}, "activation.*'relu', 'tanh' or 'sigmoid'.*rleu"),
        ("lenet5", {"pool": "mean"}, "pool.*'max' or 'avg'"),
        ("lenet_dlg", {"scale": 0}, "scale.*greater than 0"),
        ("lenet_dlg", {"scale": "wide"}, "scale"),
        ("lenet_dlg", {"scale": True}, "scale"),
        ("convnet", {"width": 0}, "width.*greater than or equal to 1"),
        ("convnet", {"width": 10**9}, "width.*512"),
        ("convnet", {"width": 1.5}, "width"),
        ("convnet", {"norm": "layer"}, "norm.*'batch' or 'none'"),
        ("mlp", {"hidden": "128"}, "hidden"),
        ("vgg16", {"width": 2}, "unknown key 'width'"),
        ("logistic", {"normalise": "imagenet"}, "normalise"),
    ],
)
def test_illegal_options_are_named(name, options, says):
    with pytest.raises(UserError, match=says) as caught:
        build(name, COLOUR, **options)
    assert "\n" not in str(caught.value)


def test_unknown_networks_get_a_suggestion():
    with pytest.raises(UnknownNameError, match="did you mean 'lenet5'"):
        build("lenet_5")
    with pytest.raises(UnknownNameError):
        models.describe("resnet")


def test_descriptions_are_complete():
    assert models.names() == ["convnet", "lenet5", "lenet_dlg", "linear_regression", "logistic", "mlp", "vgg16"]
    for name in models.names():
        description = models.describe(name)
        assert description.title
        assert description.paper.startswith("https://")
        assert description.text
        assert description.batch_norm
        assert description.options["normalise"] == "none"
    assert models.describe("convnet").options["width"] == 64


def test_second_derivatives_exist_where_dlg_needs_them():
    network = build("lenet_dlg").eval()
    image = torch.rand(1, *GREY, requires_grad=True)
    gradients = torch.autograd.grad(network(image).logsumexp(1).sum(), list(network.parameters()), create_graph=True)
    (second,) = torch.autograd.grad(sum(g.square().sum() for g in gradients), image)
    assert second.abs().max() > 0


def test_a_network_for_numbers_has_no_classes_and_the_others_no_numbers():
    with pytest.raises(UserError, match="'linear_regression' predicts one number, and there are 10 classes"):
        build("linear_regression")
    with pytest.raises(
        UserError, match=r"'mlp' predicts class labels, .* of dataset 'd' are numbers: take linear_regr"
    ):
        models.fits(Model(name="mlp"), "d", numbers=True)
    with pytest.raises(UserError, match=r"'linear_regression' predicts numbers, .* are class labels: take convnet, "):
        models.fits(Model(name="linear_regression"), "d", numbers=False)
    models.fits(Model(name="mlp"), "d", numbers=False)
    models.fits(Model(name="linear_regression"), "d", numbers=True)
