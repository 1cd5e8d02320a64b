"""Words that other libraries use for what a spec asks of images."""

from models_store.spec import patterns
from models_store.spec.synonyms import GENERAL
from models_store.spec.vocabulary import Words, spread
from models_store.tasks.image.backbones.network import ANY_WEIGHTS

WORDS = GENERAL | Words(
    fields=spread(
        {
            "input.size": "imagesize imgsize inputsize imgsz resolution inputshape inputresolution "
            "imageresolution imageheight imagewidth cropsize targetsize side",
            "input.channels": "inchannels inputchannels colormode colourmode grayscale greyscale inchans numchannels",
            "backbone": "model architecture arch network net encoder basemodel pretrainedmodel "
            "featureextractor modeltype",
            "backbone.weights": "pretrained pretrainedweights usepretrained initweights initialweights checkpoint "
            "imagenet",
            "backbone.freeze": "freezebackbone frozen freezelayers frozenlayers freezeencoder trainable "
            "trainablelayers",
            "augmentation": "augmentations augment transforms transform aug augs dataaugmentation dataaug",
            "evaluation.test_time_augmentation": "tta usetta",
            "export.any_size": "dynamicsize dynamicshape dynamicaxes dynamic",
            "degrees": "degree angle maxangle rotationrange maxdegrees",
            "alpha": "mixupalpha cutmixalpha beta",
            "operations": "numops numberofops nops",
            "magnitude": "mag m intensity",
            "freeze": "frozen freezebackbone trainable freezelayers",
            "weights": "pretrained pretrainedweights usepretrained initweights checkpoint",
            "widths": "channels filters width stages",
        }
    ),
    also={
        "lambda": ("strength", "alpha"),
        "pretrained": ("weights", "backbone.weights"),
        "pretrainedweights": ("weights", "backbone.weights"),
        "usepretrained": ("weights", "backbone.weights"),
        "checkpoint": ("weights", "backbone.weights"),
        "frozen": ("freeze", "backbone.freeze"),
        "freezebackbone": ("freeze", "backbone.freeze"),
        "trainable": ("freeze", "backbone.freeze"),
        "freezelayers": ("freeze", "backbone.freeze"),
    },
    notes=spread(
        {
            "images are normalised as the backbone's weights need it; leave it out": "mean std normalize normalise normalization imagemean imagestd rescale",
        },
    ),
    kinds={
        word: (kind,)
        for word, kind in spread(
            {
                "random_flip": "hflip horizontalflip randomhorizontalflip fliplr flip mirror randomfliplr vflip "
                "verticalflip randomverticalflip flipud",
                "random_resized_crop": "randomresizecrop rrc resizedcrop inceptioncrop",
                "random_crop": "crop randomcropandpad pad",
                "random_rotation": "rotate rotation randomrotate",
                "random_translation": "affine randomaffine translate shift translation",
                "random_scale": "zoom randomzoom rescale",
                "random_shear": "shear",
                "random_perspective": "perspective",
                "color_jitter": "colorjitter colourjitter jitter brightness contrast saturation hue randombrightness "
                "randombrightnesscontrast huesaturationvalue",
                "random_grayscale": "grayscale greyscale togray randomgray randomgreyscale",
                "random_erasing": "erasing randomerase erase",
                "cutout": "coarsedropout dropoutpatches",
                "gaussian_blur": "blur randomblur",
                "gaussian_noise": "noise gaussnoise addnoise",
                "channel_shuffle": "channelpermutation randomchannelpermutation",
                "rand_augment": "randaug autoaugment autoaug randaugmentation",
                "trivial_augment_wide": "trivialaugment ta tawide",
                "small_cnn": "cnn simplecnn convnet lenet lenet5 basiccnn tinycnn",
                "resnet18": "resnet",
                "mobilenet_v2": "mobilenet mobilenetv1",
                "mobilenet_v3_small": "mobilenetv3",
                "efficientnet_b0": "efficientnet effnet",
                "efficientnet_lite0": "efficientnetlite",
                "vit_b_16": "vit visiontransformer vitbase vitbasepatch16224 vitb transformer",
                "convnext_tiny": "convnext",
                "swin_t": "swin swintiny swintransformer",
                "wide_resnet50_2": "wideresnet wrn",
            }
        ).items()
    },
    kind_notes=spread(
        {
            "images are normalised as the backbone's weights need it; leave it out": "normalize normalise normalization",
            "images are always resized to `input.size`; leave it out": "resize centercrop resizeshortest longestmaxsize",
            "images always become tensors; leave it out": "totensor totensorv2 toimage todtype convertimagedtype piltotensor",
        },
    ),
    values={
        "resize": ("stretch",),
        "squash": ("stretch",),
        "centercrop": ("crop",),
        "lr": ("horizontal",),
        "classification": ("image_classification",),
        "multiclass": ("image_classification",),
        "multilabel": ("multilabel_classification",),
        "regression": ("image_regression",),
    },
    patterns={ANY_WEIGHTS: f"weights to start from: `imagenet`, {patterns.OWN}; null starts from random weights"},
)
