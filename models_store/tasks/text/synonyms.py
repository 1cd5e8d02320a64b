"""Words that other libraries use for what a spec asks of texts."""

from models_store.spec.synonyms import GENERAL
from models_store.spec.vocabulary import Words, spread
from models_store.tasks.text.tokenizers.parts import OWN_WORD

WORDS = GENERAL | Words(
    fields=spread(
        {
            "input.max_tokens": "maxlength maxlen maxseqlength maxsequencelength sequencelength seqlen maxseqlen "
            "maxwords padsize blocksize",
            "input.truncate": "truncation truncationside truncating",
            "input.tokenizer": "tokeniser segmenter cut analyzer preprocessor vectorizer tokenization",
            "vocabulary": "vocabsize vocabularysize maxfeatures maxvocab maxvocabsize topk numwords",
            "min_count": "mindf minfreq minfrequency mincountword",
            "own_words": "userdict userdictionary customwords addwords",
            "backbone": "model architecture arch network net encoder basemodel modeltype",
            "embedding": "embeddingdim embeddingsize embeddim embedsize vectorsize dmodel",
            "kernels": "kernelsizes filtersizes windows kernelsize",
            "width": "hiddensize hiddendim units statesize rnnsize",
            "layers": "numlayers nlayers depth numhiddenlayers",
            "heads": "numheads nheads nhead attentionheads numattentionheads",
            "ffn": "feedforward dimfeedforward ffndim intermediatesize",
            "pooling": "pool aggregation poolingtype",
            "bidirectional": "bi bidir",
            "augmentation": "augmentations augment aug augs dataaugmentation dataaug textaugmentation eda",
            "rate": "ratio pct augp percent",
            "filters": "numfilters nfilters outchannels channels",
        }
    ),
    also={},
    notes=spread(
        {
            "a text has no size; `input.max_tokens` is how much of it the net reads": "imagesize imgsize inputsize imgsz resolution size inputshape cropsize",
            "texts have no channels or colours; leave it out": "channels inchans inchannels numchannels colormode grayscale greyscale whitelevel mean std",
            "it averages answers over changed copies of an image, and a text has one reading; leave it out": "testtimeaugmentation tta usetta views",
            "it is for files of images; a file of texts takes any length already; leave it out": "anysize dynamicsize dynamicshape dynamicaxes dynamic",
            "every tokenizer folds case, width and compatibility forms; leave it out": "lowercase lower dolowercase uncased stripaccents normalize normalization normalizer",
            "no word is left out, because the net learns by itself which of them say nothing; leave it out": "stopwords removestopwords stopword stopwordlist",
            "padding never changes an answer, so there is nothing to choose; leave it out": "padding padtomaxlength paddingside padtoken",
        }
    ),
    kind_notes=spread(
        {
            "it is a network for images": "resnet resnet18 resnet34 resnet50 efficientnet efficientnetb0 efficientnetlite0 efficientnetlite2 mobilenet mobilenetv2 mobilenetv3small mobilenetv3large vgg vgg16 densenet121 squeezenet11 vit vitb16 convnext convnexttiny swin swint smallcnn cifarresnet18",
            "it changes images": "randomflip hflip vflip randomrotation randomcrop randomresizedcrop randomtranslation randomscale randomshear randomperspective colorjitter randomgrayscale randomerasing cutout cutmix gaussianblur gaussiannoise randaugment trivialaugmentwide augmix autoaugment",
            "pieces of words are learned by bpe or unigram; a pretrained encoder brings its own tokenizer": "wordpiece bert berttokenizer",
        }
    ),
    kinds={
        word: (kind,)
        for word, kind in spread(
            {
                "encoder": "bert minilm roberta xlmroberta distilbert pretrainedencoder sentencetransformer automodel hfencoder",
                "ngram_bag": "fasttext bow bagofwords bagofngrams embeddingbag",
                "tfidf_linear": "tfidf logisticregression logreg linearsvc linearsvm svm maxent",
                "nb_linear": "nbsvm naivebayes multinomialnb nblr",
                "lstm": "bilstm blstm lstmclassifier stackedlstm",
                "gru": "bigru bgru",
                "rnn": "birnn simplernn elman vanillarnn",
                "transformer": "transformerencoder selfattention multiheadattention attention encoderonly",
                "text_cnn": "textcnn cnn parallelcnn kimcnn",
                "characters": "char chars character charlevel",
                "code_points": "codepoint unicode utf32 bytes",
                "words": "word wordlevel whitespace regexwords",
                "jieba": "jiebafast",
                "rjieba": "jiebars",
                "bpe": "bytepair bytepairencoding bytelevelbpe gpt2 roberta",
                "unigram": "sentencepiece unigramlm spm",
                "synonym_replacement": "sr synonym synonyms synonymaug synonymreplace replacesynonyms",
                "random_insertion": "ri insertion insert randominsert",
                "random_swap": "rs swap randomswapping",
                "random_deletion": "rd deletion delete randomdelete worddropout",
                "punctuation_insertion": "aeda punctuation insertpunctuation",
                "homophones": "homophone pinyin similarsound",
                "typos": "typo keyboard keyboardaug spelling spellingaug misspelling",
                "token_dropout": "tokenmasking mask unktoken wordmasking",
                "paraphrases": "paraphrase backtranslation backtranslate backtranslationaug",
                "mixup": "senmixup wordmixup textmixup embeddingmixup manifoldmixup",
            }
        ).items()
    },
    values={
        "right": ("end",),
        "left": ("start",),
        "post": ("end",),
        "pre": ("start",),
        "classification": ("text_classification",),
        "multilabel": ("text_multilabel",),
        "regression": ("text_regression",),
        "sentimentanalysis": ("text_classification",),
    },
    patterns={OWN_WORD: "a word without spaces"},
)
