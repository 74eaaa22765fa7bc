"""The networks of Brigade's zoo a second time, in PyTorch, as Keras defines those that it has.

Peers of the benchmarks are built from here, and so are the golden data of tests/golden; nothing is read from Brigade.
What follows Keras and not torchvision: the stride of ResNet-50's bottlenecks is in their first 1x1 convolution, its
convolutions have biases; batch norm's epsilon is 1.001e-5 in ResNet-50 and DenseNet and else 1e-3; that of the
Inception networks learns no scale; flattening goes by height, width, channel.

Modules register their parameters in the order in which Brigade numbers its own: that of the forward pass, the
shortcut of a residual block before its body, branches from left to right.
"""
import torch
import torch.nn.functional as F
from torch import nn

KERAS_EPSILON, TORCHVISION_EPSILON = 1e-3, 1e-5
KERAS_RESNET_EPSILON = 1.001e-5  # and DenseNet's


# ---- Parts of networks

class Flatten(nn.Module):
    """[N, C, H, W] -> [N, H*W*C], in the order of Keras; free of charge where channels are last in memory."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


class SamePad(nn.Module):
    """The zeros of TensorFlow's "same": the odd one goes to the bottom and right."""

    def __init__(self, kernel, stride):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        height, width = (max((-(-n // self.stride) - 1) * self.stride + self.kernel - n, 0) for n in x.shape[2:])
        return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


class Scale(nn.Module):
    """factor * x"""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


class Branches(nn.ModuleList):
    """The outputs of all branches, concatenated along the channels."""

    def forward(self, x):
        return torch.cat([branch(x) for branch in self], 1)


class Residual(nn.Module):
    """act(shortcut(x) + scale * body(x))"""

    def __init__(self, shortcut, body, act, scale=1.0, in_place=True):
        super().__init__()
        self.shortcut, self.body, self.act, self.scale = shortcut, body, act, scale
        self.in_place = in_place and scale == 1  # backward must not need the body's output

    def forward(self, x):
        if self.in_place:
            return self.act(self.body(x).add_(self.shortcut(x)))
        return self.act(torch.add(self.shortcut(x), self.body(x), alpha=self.scale))


def relu():
    return nn.ReLU(inplace=True)


def relu6():
    return nn.ReLU6(inplace=True)


class Clamp(nn.Module):
    def forward(self, x):
        return x.clamp(0, 6)


def clamp_for_relu6(network):
    """In place of each ReLU6: PyTorch 1.13 lacks its backward pass in bf16."""
    for name, child in network.named_children():
        if isinstance(child, nn.ReLU6):
            setattr(network, name, Clamp())
        clamp_for_relu6(child)


def norm(channels, epsilon=KERAS_EPSILON, scale=True):
    module = nn.BatchNorm2d(channels, eps=epsilon)
    if not scale:
        module.weight = None
    return module


def conv_norm(i, o, kernel, stride=1, padding=0, bias=False, groups=1, epsilon=KERAS_EPSILON, scale=True):
    return nn.Sequential(nn.Conv2d(i, o, kernel, stride, padding, groups=groups, bias=bias), norm(o, epsilon, scale))


def norm_relu_conv(i, o, kernel, stride=1, epsilon=KERAS_RESNET_EPSILON):
    padding = kernel // 2
    return nn.Sequential(norm(i, epsilon), relu(), nn.Conv2d(i, o, kernel, stride, padding, bias=False))


def average_and_classify(channels, classes, dropout=0.0):
    parts = [nn.AdaptiveAvgPool2d(1), Flatten()] + ([nn.Dropout(dropout)] if dropout else [])
    return [*parts, nn.Linear(channels, classes)]


def flattened(features, image):
    """Elements of an image behind the given layers."""
    channels, height, width = image
    sequence = nn.Sequential(*features).eval()
    with torch.no_grad():
        elements = sequence(torch.zeros(1, channels, height, width)).numel()
    sequence.train()
    return elements


# ---- Small networks: every layer is one module of one sequence

def fashion_cnn(image, classes, **_):
    parts, channels = [], image[0]
    for filters in (32, 64):
        parts += [nn.Conv2d(channels, filters, 5, padding=2, bias=False), norm(filters), relu(), nn.MaxPool2d(2)]
        channels = filters
    inputs = flattened(parts, image)
    return nn.Sequential(*parts, Flatten(), nn.Linear(inputs, 128), relu(), nn.Linear(128, classes))


def lenet5(image, classes, **_):
    """LeCun, Bottou, Bengio, Haffner 1998, with max-pooling and ReLU."""
    parts = [nn.Conv2d(image[0], 6, 5, padding=2), relu(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), relu(), nn.MaxPool2d(2)]
    inputs = flattened(parts, image)
    return nn.Sequential(*parts, Flatten(), nn.Linear(inputs, 120), relu(), nn.Linear(120, 84), relu(),
                         nn.Linear(84, classes))


def tiny_model1(image, classes, dropout=0.5, **_):
    parts, channels = [], image[0]
    for filters in (32, 64, 128, 128):
        parts += [nn.Conv2d(channels, filters, 3), relu(), nn.MaxPool2d(2)]
        channels = filters
    inputs = flattened(parts, image)
    return nn.Sequential(*parts, Flatten(), nn.Dropout(dropout), nn.Linear(inputs, 512), relu(), nn.Linear(512, classes))


def tiny_model2(image, classes, dropout=0.5, **_):
    parts, channels = [], image[0]
    for filters in ((32, 32), (32, 64)):
        for width in filters:
            parts += [nn.Conv2d(channels, width, 3), relu()]
            channels = width
        parts += [nn.MaxPool2d(2), norm(channels), nn.Dropout(dropout)]
    for _ in range(2):
        parts += [nn.Conv2d(channels, 128, 3), relu(), nn.MaxPool2d(2)]
        channels = 128
    parts.append(norm(128))
    inputs = flattened(parts, image)
    return nn.Sequential(*parts, Flatten(), nn.Linear(inputs, 512), relu(), nn.Linear(512, 1024), relu(),
                         nn.Linear(1024, classes))


# ---- Large networks

def alexnet(image, classes, dropout=0.5, **_):
    """Krizhevsky, Sutskever, Hinton 2012: two towers (groups), zeros that make 55x55 of 224x224."""
    def response_norm():
        return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)  # PyTorch divides alpha by the size

    parts = [
        nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(image[0], 96, 11, 4), relu(), response_norm(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, 1, 2, groups=2), relu(), response_norm(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, 1, 1), relu(), nn.Conv2d(384, 384, 3, 1, 1, groups=2), relu(),
        nn.Conv2d(384, 256, 3, 1, 1, groups=2), relu(), nn.MaxPool2d(3, 2)]
    inputs = flattened(parts, image)
    return nn.Sequential(*parts, Flatten(), nn.Linear(inputs, 4096), relu(), nn.Dropout(dropout), nn.Linear(4096, 4096),
                         relu(), nn.Dropout(dropout), nn.Linear(4096, classes))


def vgg16(image, classes, dropout=0.5, **_):
    """Simonyan, Zisserman 2015, column D."""
    parts, channels = [], image[0]
    for width, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            parts += [nn.Conv2d(channels, width, 3, 1, 1), relu()]
            channels = width
        parts.append(nn.MaxPool2d(2))
    inputs = flattened(parts, image)
    return nn.Sequential(*parts, Flatten(), nn.Linear(inputs, 4096), relu(), nn.Dropout(dropout), nn.Linear(4096, 4096),
                         relu(), nn.Dropout(dropout), nn.Linear(4096, classes))


def resnet(blocks, bottleneck):
    """He et al. 2016, table 1. Bottlenecks are those of Keras' ResNet50, basic blocks those of torchvision."""
    style = {"bias": bottleneck, "epsilon": KERAS_RESNET_EPSILON if bottleneck else TORCHVISION_EPSILON}

    def body(i, width, o, stride):
        if not bottleneck:
            return [conv_norm(i, width, 3, stride, 1, **style), relu(), conv_norm(width, o, 3, 1, 1, **style)]
        return [conv_norm(i, width, 1, stride, **style), relu(), conv_norm(width, width, 3, 1, 1, **style), relu(),
                conv_norm(width, o, 1, **style)]

    def make(image, classes, **_):
        parts, channels = [conv_norm(image[0], 64, 7, 2, 3, **style), relu(), nn.MaxPool2d(3, 2, 1)], 64
        for stage, repeats in enumerate(blocks):
            width = 64 << stage
            for block in range(repeats):
                stride, out = 2 if stage > 0 and block == 0 else 1, (4 if bottleneck else 1) * width
                same = stride == 1 and channels == out
                shortcut = nn.Identity() if same else conv_norm(channels, out, 1, stride, **style)
                parts.append(Residual(shortcut, nn.Sequential(*body(channels, width, out, stride)), relu()))
                channels = out
        return nn.Sequential(*parts, *average_and_classify(channels, classes))

    return make


def resnet9(image, classes, **_):
    """Page 2019, "How to train your ResNet"."""
    def conv(i, o):
        return nn.Sequential(conv_norm(i, o, 3, 1, 1, epsilon=TORCHVISION_EPSILON), relu())

    def residual(width):
        return Residual(nn.Identity(), nn.Sequential(conv(width, width), conv(width, width)), nn.Identity(), in_place=False)

    parts = [conv(image[0], 64), conv(64, 128), nn.MaxPool2d(2), residual(128), conv(128, 256), nn.MaxPool2d(2),
             conv(256, 512), nn.MaxPool2d(2), residual(512), nn.MaxPool2d(4)]
    inputs = flattened(parts, image)
    return nn.Sequential(*parts, Flatten(), nn.Linear(inputs, classes, bias=False), Scale(0.125))


class WideBlock(nn.Module):
    """Zagoruyko, Komodakis 2016, figure 1 d without dropout; a shortcut convolution reads the first norm and ReLU."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.first = nn.Sequential(norm(i, TORCHVISION_EPSILON), relu())
        self.shortcut = None if i == o else nn.Conv2d(i, o, 1, stride, bias=False)
        self.body = nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False),
                                  norm_relu_conv(o, o, 3, epsilon=TORCHVISION_EPSILON))

    def forward(self, x):
        y = self.first(x)
        return self.body(y).add_(self.shortcut(y) if self.shortcut else x)


def wide_resnet_28_10(image, classes, **_):
    """Zagoruyko, Komodakis 2016, table 1, N = 4, k = 10."""
    parts, channels = [nn.Conv2d(image[0], 16, 3, 1, 1, bias=False)], 16
    for width, first_stride in ((160, 1), (320, 2), (640, 2)):
        for block in range(4):
            parts.append(WideBlock(channels, width, first_stride if block == 0 else 1))
            channels = width
    return nn.Sequential(*parts, norm(640, TORCHVISION_EPSILON), relu(), *average_and_classify(640, classes))


def mobilenet(image, classes, dropout=0.001, exact_padding=True, **_):
    """Howard et al. 2017, table 1."""
    def strided(pad, *conv, **options):
        return [pad, conv_norm(*conv, 2, 0, **options)] if exact_padding else [conv_norm(*conv, 2, 1, **options)]

    parts, channels = [*strided(SamePad(3, 2), image[0], 32, 3), relu6()], 32
    for width, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
                          (1024, 1)):
        parts += ([conv_norm(channels, channels, 3, 1, 1, groups=channels)] if stride == 1 else
                  strided(nn.ZeroPad2d((0, 1, 0, 1)), channels, channels, 3, groups=channels))
        parts += [relu6(), conv_norm(channels, width, 1), relu6()]
        channels = width
    return nn.Sequential(*parts, *average_and_classify(1024, classes, dropout))


def mobilenet_v2(image, classes, exact_padding=True, **_):
    """Sandler et al. 2018, table 2."""
    def conv3x3(i, o, stride, **options):
        if stride == 1 or not exact_padding:
            return [conv_norm(i, o, 3, stride, 1, **options)]
        return [SamePad(3, 2), conv_norm(i, o, 3, 2, **options)]

    parts, channels = [*conv3x3(image[0], 32, 2), relu6()], 32
    for expansion, width, repeats, first_stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(repeats):
            stride, inner = first_stride if block == 0 else 1, expansion * channels
            body = [conv_norm(channels, inner, 1), relu6()] if expansion > 1 else []
            body += [*conv3x3(inner, inner, stride, groups=inner), relu6(), conv_norm(inner, width, 1)]
            body = nn.Sequential(*body)
            same = stride == 1 and channels == width
            parts.append(Residual(nn.Identity(), body, nn.Identity()) if same else body)
            channels = width
    parts += [conv_norm(320, 1280, 1), relu6()]
    return nn.Sequential(*parts, *average_and_classify(1280, classes))


class DenseLayer(nn.Sequential):
    """Concatenates what it reads with what it computes."""

    def forward(self, x):
        return torch.cat([x, super().forward(x)], 1)


def densenet(layers):
    """Huang et al. 2017, table 1, growth rate 32."""
    def make(image, classes, **_):
        channels = 64
        parts = [conv_norm(image[0], channels, 7, 2, 3, epsilon=KERAS_RESNET_EPSILON), relu(), nn.MaxPool2d(3, 2, 1)]
        for block, repeats in enumerate(layers):
            for _ in range(repeats):
                parts.append(DenseLayer(norm_relu_conv(channels, 128, 1), norm_relu_conv(128, 32, 3)))
                channels += 32
            if block < 3:
                parts += [norm_relu_conv(channels, channels // 2, 1), nn.AvgPool2d(2)]
                channels //= 2
        return nn.Sequential(*parts, norm(channels, KERAS_RESNET_EPSILON), relu(), *average_and_classify(channels, classes))

    return make


# ---- Inception: a chain of convolutions is written [(filters, kernel), ...], the kernel 3 or (1, 7): one row of seven

def inception_conv(i, o, kernel, stride=1, valid=False):
    rows, columns = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = 0 if valid else (rows // 2, columns // 2)
    return nn.Sequential(conv_norm(i, o, (rows, columns), stride, padding, scale=False), relu())


def chain(i, *convolutions, reduce=False):
    """Convolutions "same"; if `reduce`, the last one is valid with stride 2."""
    parts = []
    for number, (filters, kernel) in enumerate(convolutions, 1):
        last = reduce and number == len(convolutions)
        parts.append(inception_conv(i, filters, kernel, 2 if last else 1, last))
        i = filters
    return nn.Sequential(*parts)


def pooled(i, filters):
    return nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), inception_conv(i, filters, 1))


def inception_stem(channels):
    return [inception_conv(channels, 32, 3, 2, True), inception_conv(32, 32, 3, 1, True), inception_conv(32, 64, 3),
            nn.MaxPool2d(3, 2), inception_conv(64, 80, 1), inception_conv(80, 192, 3, 1, True), nn.MaxPool2d(3, 2)]


def inception_a(i, first, pool_filters):
    return Branches([chain(i, (first, 1)), chain(i, (48, 1), (64, 5)), chain(i, (64, 1), (96, 3), (96, 3)),
                     pooled(i, pool_filters)])


def inception_v3(image, classes, **_):
    """Szegedy et al. 2016, table 1, without the auxiliary classifier."""
    parts = [*inception_stem(image[0]), inception_a(192, 64, 32), inception_a(256, 64, 64), inception_a(288, 64, 64)]
    parts.append(Branches([chain(288, (384, 3), reduce=True), chain(288, (64, 1), (96, 3), (96, 3), reduce=True),
                           nn.MaxPool2d(3, 2)]))
    for f in (128, 160, 160, 192):
        parts.append(Branches([chain(768, (192, 1)), chain(768, (f, 1), (f, (1, 7)), (192, (7, 1))),
                               chain(768, (f, 1), (f, (7, 1)), (f, (1, 7)), (f, (7, 1)), (192, (1, 7))), pooled(768, 192)]))
    parts.append(Branches([chain(768, (192, 1), (320, 3), reduce=True),
                           chain(768, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), reduce=True), nn.MaxPool2d(3, 2)]))
    for i in (1280, 2048):
        def fork(*convolutions):
            return nn.Sequential(chain(i, *convolutions), Branches([chain(384, (384, (1, 3))), chain(384, (384, (3, 1)))]))
        parts.append(Branches([chain(i, (320, 1)), fork((384, 1)), fork((448, 1), (384, 3)), pooled(i, 192)]))
    return nn.Sequential(*parts, *average_and_classify(2048, classes))


def inception_resnet_v2(image, classes, **_):
    """Szegedy et al. 2017, figure 15, with the stem of Inception-v3 and a last block without ReLU."""
    def block(channels, scale, branches, act=relu):
        mixed = sum(branch[-1][0] for branch in branches)
        body = nn.Sequential(Branches([chain(channels, *branch) for branch in branches]), nn.Conv2d(mixed, channels, 1))
        return Residual(nn.Identity(), body, act(), scale)

    block35 = [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]]
    block17 = [[(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))]]
    block8 = [[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]]
    parts = [*inception_stem(image[0]), inception_a(192, 96, 64), *[block(320, 0.17, block35) for _ in range(10)]]
    parts.append(Branches([chain(320, (384, 3), reduce=True), chain(320, (256, 1), (256, 3), (384, 3), reduce=True),
                           nn.MaxPool2d(3, 2)]))
    parts += [block(1088, 0.1, block17) for _ in range(20)]
    parts.append(Branches([chain(1088, (256, 1), (384, 3), reduce=True), chain(1088, (256, 1), (288, 3), reduce=True),
                           chain(1088, (256, 1), (288, 3), (320, 3), reduce=True), nn.MaxPool2d(3, 2)]))
    parts += [block(2080, 0.2, block8) for _ in range(9)] + [block(2080, 1.0, block8, nn.Identity)]
    return nn.Sequential(*parts, chain(2080, (1536, 1)), *average_and_classify(1536, classes))


# Name: maker, usual image (channels, height, width), classes, and learnt values as `brigade models` prints them.
NETWORKS = {
    "alexnet": (alexnet, (3, 224, 224), 1000, 60965224),
    "densenet121": (densenet((6, 12, 24, 16)), (3, 224, 224), 1000, 7978856),
    "densenet169": (densenet((6, 12, 32, 32)), (3, 224, 224), 1000, 14149480),
    "densenet201": (densenet((6, 12, 48, 32)), (3, 224, 224), 1000, 20013928),
    "fashion-cnn": (fashion_cnn, (1, 28, 28), 10, 455018),
    "inception-resnet-v2": (inception_resnet_v2, (3, 299, 299), 1000, 55813192),
    "inception-v3": (inception_v3, (3, 299, 299), 1000, 23817352),
    "lenet5": (lenet5, (1, 28, 28), 10, 61706),
    "mobilenet": (mobilenet, (3, 224, 224), 1000, 4231976),
    "mobilenet-v2": (mobilenet_v2, (3, 224, 224), 1000, 3504872),
    "resnet18": (resnet((2, 2, 2, 2), False), (3, 224, 224), 1000, 11689512),
    "resnet34": (resnet((3, 4, 6, 3), False), (3, 224, 224), 1000, 21797672),
    "resnet50": (resnet((3, 4, 6, 3), True), (3, 224, 224), 1000, 25583592),
    "resnet9": (resnet9, (3, 32, 32), 10, 6573120),
    "tiny-model1": (tiny_model1, (3, 64, 64), 200, 606088),
    "tiny-model2": (tiny_model2, (3, 64, 64), 200, 1056136),
    "vgg16": (vgg16, (3, 224, 224), 1000, 138357544),
    "wide-resnet-28-10": (wide_resnet_28_10, (3, 32, 32), 10, 36479194),
}


def parameter_count(module):
    return sum(p.numel() for p in module.parameters())


def build(name, image=None, classes=None, **options):
    """The network for images (channels, height, width); what is left out is as published. Options: `dropout`, a rate;
    `exact_padding=False` moves the odd zero of strided convolutions in MobileNets from the bottom and right into the
    convolution itself, around all sides: the same work, without the copies that PyTorch would need."""
    maker, usual_image, usual_classes, parameters = NETWORKS[name]
    module = maker(image or usual_image, classes or usual_classes, **options)
    if image is None and classes is None and parameter_count(module) != parameters:
        raise ValueError(f"{name} has {parameter_count(module)} parameters here and {parameters} in Brigade "
                         "(one of them is not the published network). Compare the definitions?")
    return module
