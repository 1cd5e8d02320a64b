"""Synonyms: words of other libraries for the fields, kinds and values of a spec, compared in small letters without signs."""

FIELDS: dict[str, str] = {
    word: path
    for path, words in {
        "name": "modelname modelid title projectname experiment runname",
        "dataset": "datasetid data trainset traindata datasetname",
        "task": "problemtype tasktype problem objectivetype",
        "seed": "randomseed randomstate rngseed manualseed rng",
        "input.size": "imagesize imgsize inputsize imgsz resolution inputshape inputresolution imageresolution "
        "imageheight imagewidth cropsize targetsize side",
        "input.channels": "inchannels inputchannels colormode colourmode grayscale greyscale inchans numchannels",
        "backbone": "model architecture arch network net encoder basemodel pretrainedmodel featureextractor modeltype",
        "backbone.weights": "pretrained pretrainedweights usepretrained initweights initialweights checkpoint imagenet",
        "backbone.freeze": "freezebackbone frozen freezelayers frozenlayers freezeencoder trainable trainablelayers",
        "head.hidden_sizes": "hiddenlayers hiddensize hiddenunits hiddendim fcsizes mlp denselayers hidden",
        "transfer.layer_decay": "layerwiselrdecay llrd lrlayerdecay discriminativelr",
        "transfer.head_lr_scale": "headlr headlrmult headlrmultiplier headlearningrate",
        "transfer.unfreeze_every_epochs": "gradualunfreezing unfreeze unfreezeevery",
        "transfer.probe_epochs": "linearprobe warmuphead freezeepochs lpft",
        "distillation": "distill teachermodel knowledgedistillation kd",
        "distillation.teacher": "teacher teachername",
        "augmentation": "augmentations augment transforms transform aug augs dataaugmentation dataaug",
        "regularizers": "regularization regularisation regularizer regulariser regularisers",
        "loss": "criterion lossfn lossfunction losstype lossname costfunction",
        "loss.label_smoothing": "labelsmooth smoothing labelsmoothingfactor smoothlabels",
        "loss.class_weights": "classweight weightedloss posweight lossweights weightclasses balancedloss",
        "optimizer": "optim opt solver optimiser optimizertype optimizername",
        "optimizer.lr": "learningrate lrate lrrate baselr initiallr initlr maxlr peaklr startlr rate lr0 eta alpha0 "
        "learnrate learningrateinit",
        "optimizer.weight_decay": "wd weightdecayrate l2penalty l2reg l2regularization decoupledweightdecay",
        "optimizer.momentum": "mom momentumfactor",
        "optimizer.beta1": "betas adambeta1 b1",
        "optimizer.beta2": "adambeta2 b2",
        "schedule": "scheduler lrscheduler lrschedule learningrateschedule scheduling lrpolicy lrschedulertype",
        "schedule.warmup_epochs": "warmup warmupepoch warmups warmupsteps warmupratio warmupiters lrwarmup",
        "schedule.final_fraction": "minlr etamin lrmin finallr endlr finallrratio lrf",
        "schedule.every_epochs": "stepsize dropevery decayevery",
        "schedule.gamma": "factor decayrate dropfactor",
        "schedule.rise_share": "pctstart",
        "schedule.cycles": "numcycles restarts ncycles",
        "training": "train trainer trainingargs fit hyperparameters hparams",
        "training.epochs": "numepochs nepochs maxepochs epoch nbepochs numtrainepochs trainepochs epochcount totalepochs",
        "training.batch_size": "batch bs batchsize minibatch minibatchsize trainbatchsize imsperbatch "
        "perdevicetrainbatchsize batchsz",
        "training.accumulate_steps": "gradientaccumulationsteps gradaccumulation accumulategradbatches gradaccum "
        "accumulationsteps accumulate",
        "training.clip_grad_norm": "gradclip clipgrad gradientclipping maxgradnorm gradclipnorm clipnorm gradientclip "
        "gradientclipval clip",
        "training.clip_grad_value": "clipvalue gradclipvalue clipgradientvalue",
        "training.precision": "amp mixedprecision fp16 bf16 halfprecision dtype half useamp",
        "training.sampling": "sampler oversampling oversample weightedsampler balancedsampling classbalance",
        "training.monitor": "metric monitormetric bestmetric metricforbestmodel evalmetric",
        "training.early_stopping": "earlystop earlystopper stopearly earlystoppingrounds",
        "training.early_stopping.patience": "earlystoppingpatience",
        "training.budget_minutes": "budget timeout timebudget timelimit maxtime maxminutes maxruntime minutes",
        "evaluation.test_time_augmentation": "tta usetta",
        "evaluation.temperature_scaling": "calibration calibrate temperature",
        "validation": "crossvalidation cv kfold folds nfolds nsplits numfolds",
        "search": "hpo tuning tuner sweep hyperparametersearch hyperparametertuning gridsearch optuna automl",
        "compression": "compress shrink optimization modelcompression",
        "compression.quantize": "quantization quantisation quantise quantized int8 quant ptq",
        "compression.prune": "pruning sparsity sparsify",
        "compression.recover": "finetuneafterpruning recovery",
        "compression.max_accuracy_drop": "accuracydrop maxdrop tolerance maxaccuracyloss",
        "export.opset": "opsetversion onnxopset",
        "export.any_size": "dynamicsize dynamicshape dynamicaxes dynamic",
        # of single parts
        "probability": "p prob chance rate dropoutrate droprate pdrop dropprob dropoutprob dropoutprobability",
        "degrees": "degree angle maxangle rotationrange maxdegrees",
        "alpha": "lambda mixupalpha cutmixalpha beta",
        "operations": "numops numberofops nops n",
        "magnitude": "mag m intensity",
        "strength": "lambda weight coefficient l1 l2 l2lambda factor amount scale",
        "decay": "emadecay momentum",
        "ratio": "amount sparsity share pruningratio",
        "calibration_images": "calibrationsamples numcalibrationimages samples calibrationsize",
        "per_channel": "perchannel channelwise",
        "trials": "ntrials numtrials iterations maxtrials numsamples",
        "folds": "k nfolds nsplits",
        "seeds": "n repeats runs",
        "space": "searchspace parameters params parameterspace",
        "freeze": "frozen freezebackbone trainable freezelayers",
        "weights": "pretrained pretrainedweights usepretrained initweights checkpoint",
        "widths": "channels filters width stages",
        "lr_scale": "learningratescale lrfactor",
        "milestones": "steps dropsat",
    }.items()
    for word in words.split()
}
"""word → the field's path in the spec, or its name in single parts; for words with several meanings see `ALSO`"""

ALSO: dict[str, tuple[str, ...]] = {
    "p": ("probability",),
    "alpha": ("class_weights",),
    "patience": ("training.early_stopping.patience",),
    "monitor": ("metric", "training.monitor"),
    "monitormetric": ("metric", "training.monitor"),
    "mindelta": ("min_delta",),
    "threshold": ("min_delta",),
    "rate": ("probability", "optimizer.lr"),
    "dropoutrate": ("probability", "dropout"),
    "lambda": ("strength", "alpha"),
    "scale": ("strength",),
    "weight": ("strength", "loss.class_weights"),
    "factor": ("strength", "schedule.gamma"),
    "pretrained": ("weights", "backbone.weights"),
    "pretrainedweights": ("weights", "backbone.weights"),
    "usepretrained": ("weights", "backbone.weights"),
    "checkpoint": ("weights", "backbone.weights"),
    "frozen": ("freeze", "backbone.freeze"),
    "freezebackbone": ("freeze", "backbone.freeze"),
    "trainable": ("freeze", "backbone.freeze"),
    "freezelayers": ("freeze", "backbone.freeze"),
    "sparsity": ("ratio", "compression.prune"),
    "folds": ("folds", "validation"),
    "nfolds": ("folds", "validation"),
    "nsplits": ("folds", "validation"),
}
"""word → its meanings, if there are several; the first one that is a field of the part applies"""

NOTES: dict[str, str] = {
    word: note
    for note, words in {
        "the dataset defines the number of classes; leave it out": "numclasses classes nclasses outputs labels numlabels classnames",
        "the worker's setting DEVICE decides where it trains; leave it out": "device gpu gpus cuda accelerator ngpus devices",
        "the trainer decides this itself; leave it out": "numworkers workers dataloaderworkers pinmemory prefetch verbose shuffle logginginterval loggingsteps savebest",
        "the splits are made when the dataset is uploaded; leave it out": "valsplit validationsplit testsplit testsize valsize trainsplit splitratio valratio",
        "images are normalised as the backbone's weights need it; leave it out": "mean std normalize normalise normalization imagemean imagestd rescale",
        'it is a regularizer: `"regularizers": [{"kind": "dropout", "probability": 0.2}]`': "dropoutrate droprate dropoutprob pdrop",
        'it is a regularizer: `"regularizers": [{"kind": "ema"}]`': "useema emadecay modelema exponentialmovingaverage",
        "a schedule ends where the training ends; leave it out": "tmax totaliters totalsteps maxlrsteps decaysteps",
        "the length of a training is given in epochs; use `training.epochs`": "maxsteps steps iterations maxiterations numsteps maxiter",
    }.items()
    for word in words.split()
}
"""word → advice, if no field has its meaning"""

_KINDS: dict[str, str] = {
    word: kind
    for kind, words in {
        # optimizers
        "sgd": "sgdmomentum sgdm momentum gd gradientdescent stochasticgradientdescent nesterov sgdnesterov",
        "adamw": "adamwtorch adamwhf adamwfused fusedadamw decoupledadam adamweightdecay",
        "schedule_free_adamw": "schedulefree adamwschedulefree",
        # losses
        "cross_entropy": "crossentropyloss ce celoss categoricalcrossentropy sparsecategoricalcrossentropy "
        "softmaxcrossentropy nll nllloss logloss softmax",
        "binary_cross_entropy": "bce bceloss bcewithlogits bcewithlogitsloss binarycrossentropyloss binarycrossentropy "
        "sigmoidcrossentropy multilabelsoftmarginloss binary",
        "mse": "mseloss meansquarederror squarederror rmse l2loss mae maeloss l1loss huber huberloss smoothl1",
        "focal": "focalloss",
        "poly1": "polyloss poly",
        # schedules
        "cosine": "cosineannealing cosineannealinglr cosinedecay cosinewarmrestarts cosineannealingwarmrestarts "
        "cosinewithwarmup warmupcosine",
        "step": "steplr stepdecay piecewise",
        "multistep": "multisteplr",
        "one_cycle": "onecyclelr 1cycle cyclic cycliclr superconvergence",
        "exponential": "exponentiallr exponentialdecay",
        "linear": "linearlr lineardecay linearwithwarmup",
        "polynomial": "polynomiallr polydecay polylr",
        "reduce_on_plateau": "reducelronplateau plateau lronplateau",
        "warmup_stable_decay": "wsd trapezoidal warmupstabledecay",
        "constant": "fixed constantlr constantwithwarmup none flat",
        # augmentation
        "random_flip": "hflip horizontalflip randomhorizontalflip fliplr flip mirror randomfliplr vflip verticalflip "
        "randomverticalflip flipud",
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
        # regularizers
        "l1": "lasso l1regularization",
        "l2": "ridge l2regularization",
        "elastic": "elasticnet l1l2",
        "drop_path": "stochasticdepth droppathrate",
        "ema": "exponentialmovingaverage modelema",
        "swa": "stochasticweightaveraging",
        "sam": "sharpnessaware sharpnessawareminimization",
        "dropout": "spatialdropout dropoutlayer alphadropout",
        # backbones
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
        # compression
        "static_int8": "int8 static ptq posttraining posttrainingquantization staticquantization uint8 qdq",
        "dynamic_int8": "dynamic dynamicquantization",
        "qat_int8": "qat quantizationawaretraining quantizationaware",
        "mixed_int8": "mixed mixedprecision",
        "fp16": "half float16",
        "bf16": "bfloat16",
        "weights_int4": "int4 4bit weightonlyint4",
        "weights_int8": "weightonly 8bit weightonlyint8",
        "structured": "channel channels filter filters channelpruning filterpruning torchpruning",
        "unstructured_l1": "unstructured magnitude magnitudepruning l1unstructured global",
        "n_m": "24 nm semistructured",
        # search and validation
        "tpe": "bayesian bayes bayesianoptimization optuna",
        "grid": "gridsearch",
        "random": "randomsearch",
        "successive_halving": "asha hyperband sha halving",
        "k_fold": "kfold cv crossvalidation stratifiedkfold stratified",
        "repeats": "repeat seeds repeatedseeds",
    }.items()
    for word in words.split()
}
KINDS: dict[str, tuple[str, ...]] = {word: (kind,) for word, kind in _KINDS.items()} | {
    "l1": ("l1", "unstructured_l1"),
    "none": ("constant",),
}
"""word → kinds of parts that it may mean; the first one in the family applies"""

KIND_NOTES: dict[str, str] = {
    word: note
    for note, words in {
        "images are normalised as the backbone's weights need it; leave it out": "normalize normalise normalization",
        "images are always resized to `input.size`; leave it out": "resize centercrop resizeshortest longestmaxsize",
        "images always become tensors; leave it out": "totensor totensorv2 toimage todtype convertimagedtype piltotensor",
    }.items()
    for word in words.split()
}
"""word → advice, if no kind is needed"""

CALLED_KIND = {
    "name",
    "type",
    "class",
    "class_name",
    "_target_",
    "model",
    "arch",
    "architecture",
    "method",
    "algorithm",
}
"""keys that other libraries have for a `kind`"""

VALUES: dict[str, tuple[str, ...]] = {
    "float16": ("fp16",),
    "half": ("fp16",),
    "mixed": ("auto", "fp16"),
    "amp": ("auto",),
    "float32": ("fp32",),
    "float": ("fp32",),
    "full": ("fp32",),
    "bfloat16": ("bf16",),
    "accuracy": ("val_accuracy",),
    "acc": ("val_accuracy",),
    "valacc": ("val_accuracy",),
    "loss": ("val_loss",),
    "resize": ("stretch",),
    "squash": ("stretch",),
    "centercrop": ("crop",),
    "lr": ("horizontal",),
    "weighted": ("balanced",),
    "classification": ("image_classification",),
    "multiclass": ("image_classification",),
    "multilabel": ("multilabel_classification",),
    "regression": ("image_regression",),
    "speed": ("latency",),
    "done": ("succeeded",),
    "finished": ("succeeded",),
    "completed": ("succeeded",),
    "error": ("failed",),
    "crashed": ("failed",),
    "pending": ("queued",),
    "active": ("running",),
    "inprogress": ("running",),
}
"""word → values that it may mean; the first allowed one applies"""

QUERIES: dict[str, tuple[str, ...]] = {
    "dry": ("dry_run",),
    "validate": ("dry_run",),
    "simulate": ("dry_run",),
    "pagesize": ("limit",),
    "perpage": ("limit",),
    "size": ("limit",),
    "count": ("limit",),
    "max": ("limit",),
    "page": ("cursor",),
    "offset": ("cursor",),
    "after": ("cursor",),
    "next": ("cursor",),
    "pagetoken": ("cursor",),
    "status": ("state",),
    "filename": ("name",),
    "title": ("name",),
}
"""word → query parameters that it may mean"""
