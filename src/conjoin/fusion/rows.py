"""Catalogue rows of fusions."""

from typing import Any

from conjoin.catalogue import Claim, Row

_HERE = "conjoin.fusion"
_NET = "conjoin.fusion.trained:FusionNet"
_LABELS = frozenset({"labels"})
_FROZEN = "frozen vectors and small networks of this project's, views dropped at random"
_RANDOM = {"missing": 0.4, "how": "random"}
_TELLING = {"missing": 0.4, "how": "label"}
_DIGITS, _EMOJI = "digit-views:left+right+rows+gradients", "emoji-groups:image+text+speech"
_ENCODERS, _TWO_LOOKS = "emoji-groups:text+static+characters", "digit-views:gradients+fourier"
_SERIES, _TABLE = "motions:acceleration+rotation", "wine:acids+colours"
_HEADS = "linear heads on frozen vectors"
_QUESTIONS = "easy-vqa:image+question"


def _claim(
    baseline: str, reported: str, *, data: str = _DIGITS, differs: str = _FROZEN,
    fidelity: str = "restated", condition: Any = _RANDOM,
) -> Claim:  # fmt: skip
    return Claim(
        "fusing", data, "accuracy", baseline, fidelity, differs, reported, condition=condition
    )


LINEAR: tuple[Row, ...] = (
    Row("fusion", "best-single", "conjoin.fusion.linear:Late",
        "The most accurate single view among those an item has.", (), _LABELS,
        settings={"weigh": "best"}, family="late"),
    Row("fusion", "late", "conjoin.fusion.linear:Late",
        "Late fusion: the mean of linear heads' predictions over the views present.",
        ("du2023umt",), _LABELS, settings={"weigh": "even"}, family="late",
        claims=(
            _claim("best-single", "Uni-modal ensembles match joint training on Kinetics-400 and "
                   "UCF101; no figure against one view on such data.",
                   differs=_HEADS),
            _claim("concat", "Better than joint training where views tell the class alone (Kinetics"
                   "-400); no figure on frozen vectors.", data=_EMOJI, differs=_HEADS),
            _claim("best-single", "No figure on tables.", data=_TABLE, differs=_HEADS),
            _claim("concat", "No figure where absence told the label in training and tells another "
                   "in the test.", condition={**_TELLING, "turned": True}, differs=_HEADS),
        )),
    Row("fusion", "entropy-late", "conjoin.fusion.linear:Late",
        "Late fusion weighted by each view's confidence (negative entropy).",
        ("simons2023summit",), _LABELS, settings={"weigh": "entropy"}, family="late",
        claims=(_claim("late", "Pseudo-labels so weighed gain up to 12 points of mIoU in adapting; "
                       "no figure on deciding.", fidelity="idea",
                       differs="decisions and not pseudo-labels; heads on frozen vectors"),)),
    Row("fusion", "concat", "conjoin.fusion.linear:Concat",
        "Early fusion: one linear head over all views, mean imputation with missing indicators.",
        ("zhang2023rich", "akumalla2020contextual", "park2024bias"), _LABELS,
        settings={"fill": "mean", "indicator": True}, family="early",
        claims=(
            _claim("best-single", "Few questions of video benchmarks need more than one modality "
                   "(abstract, in words); these are made to need both.", data=_QUESTIONS,
                   condition={"missing": 0.0}, fidelity="idea",
                   differs="one linear head on frozen vectors; drawn pictures, no language model"),
            *(_claim(baseline, "Networks of several seeds side by side under one linear head "
                     "transfer better than one of them, also one of their total size (abstract, "
                     "in words).", data=_ENCODERS, condition={"missing": 0.0},
                     differs="three encoders of one text in place of one network's seeds")
              for baseline in ("best-single", "late")),
            *(_claim(baseline, "Two branches side by side stand blur and attacks on one of them "
                     "better than either alone (abstract, in words).", data=_TWO_LOOKS,
                     condition={"missing": 0.0, "noise": 2.0},
                     differs="two measures of one digit, noise of twice its spread on the first "
                     "in the test; no attack and no term that weakens a branch")
              for baseline in ("best-single", "late")),
        )),
    Row("fusion", "concat-zero", "conjoin.fusion.linear:Concat",
        "Early fusion with zeros for absent views, without indicators.",
        (), _LABELS, settings={"fill": "zero", "indicator": False}, family="early"),
)  # fmt: skip

#: What people would try without this project.
PLAIN: tuple[Row, ...] = (
    Row("fusion", "imputed-logistic", "conjoin.fusion.tabular:ImputedLogistic",
        "Mean imputation, standardised columns, missing indicators, one logistic or ridge "
        "regression.",
        ("pedregosa2011scikit", "josse2019consistency"), _LABELS, family="early",
        claims=(
            _claim("best-single", "A constant and a flag for what is absent are consistent with a "
                   "flexible learner; no figure on views.", differs=_HEADS),
            _claim("best-single", "As above.", data=_TABLE, differs=_HEADS),
        )),
    Row("fusion", "boosted-trees", "conjoin.fusion.tabular:BoostedTrees",
        "Gradient-boosted trees over all columns, with native missing values.",
        ("friedman2001boosting", "ke2017lightgbm", "josse2019consistency"), _LABELS, "trained",
        family="trees",
        claims=(
            _claim("imputed-logistic", "Ahead of imputation before trees in simulations with data "
                   "missing at random; no figure against a linear head on views.", data=_TABLE,
                   differs="a linear head and not trees on imputed columns"),
        )),
)  # fmt: skip


def _net(
    name: str, summary: str, papers: tuple[str, ...], settings: dict[str, Any],
    claims: tuple[Claim, ...], family: str = "joint",
) -> Row:  # fmt: skip
    # A row says what it is made of: tries for settings leave that as it is.
    made = {"extra": "none", "balance": "none", **settings}
    return Row(
        "fusion", name, _NET, summary, papers, _LABELS, "trained", made, "train", family, claims
    )


TRAINED: tuple[Row, ...] = (
    _net("side", "A trained layer per view, and one head over their concatenation.",
         ("wang2024foe",), {"body": "side"},
         tuple(
             _claim(baseline, "A small network on the outputs of several experts beats each of "
                    "them and their mean in classification and generation (abstract, in words).",
                    data=_ENCODERS, condition={"missing": 0.0},
                    differs="vectors of three encoders of one text in place of the class scores "
                    "of experts; experts are not asked one after the other to save cost")
             for baseline in ("best-single", "late", "concat")
         )),
    _net("gated", "Gates computed from all views weight each view's layer.",
         ("arevalo2017gmu",), {"body": "gated"},
         (_claim("side", "Weighted F1 on MM-IMDb .617 against .600 side by side (recalled).",
                 differs=f"{_FROZEN}; gates of three views or more sum to 1, where theirs are a "
                 "sigmoid each; for two they are the same"),)),
    _net("lmf", "Low-rank multimodal fusion: a low-rank tensor product of the views present.",
         ("liu2018lmf",), {"body": "product"},
         (_claim("side", "Accuracy on CMU-MOSI 76.4 against 73.9 of the whole product; no figure "
                 "against side by side."),)),
    _net("attention", "A transformer over one token per view.", ("vaswani2017attention",),
         {"body": "sequence"},
         (_claim("concat", "The usual way; no figure on frozen vectors."),
          _claim("late", "The usual way; no figure on time series.", data=_SERIES))),
    _net("mbt", "A transformer per view; views exchange information through bottleneck tokens "
                "only.",
         ("nagrani2021mbt",), {"body": "bottleneck"},
         (_claim("attention", "mAP on AudioSet-500K, as good as full attention between the views "
                 "or better, at less cost.",
                 differs=f"{_FROZEN}; two tokens cut of each vector, shared ones from the first "
                 "block"),)),
    _net("multimodn", "A state that each view updates in turn, decoded after every step.",
         ("swamy2023multimodn",), {"body": "state", "extra": "stepwise"},
         (_claim("late", "As good as parallel fusion on ten tasks, and no failure where absence "
                 "told the label in training and tells another in the test.",
                 condition={**_TELLING, "turned": True},
                 differs=f"{_FROZEN}; an item skips what it lacks, not a batch, and "
                 "the state joins before the hidden layer, in the authors' code after it"),
          _claim("late", "As above, on tables of a hospital; here of a laboratory.", data=_TABLE,
                 condition={**_TELLING, "turned": True},
                 differs=f"{_FROZEN}; an item skips what it lacks, not a batch, and "
                 "the state joins before the hidden layer, in the authors' code after it"))),
    _net("dm2s2", "Weighted sums of elements within each view, then of views.",
         ("kitada2022dm2s2",), {"body": "levels"},
         (_claim("attention", "As good as earlier set models or better on MM-IMDb, Ads-Parallel; "
                 "no figure taken over.", fidelity="idea",
                 differs=f"{_FROZEN}; weights restated from the abstract, no code or full text "
                 "having been found"),)),
    _net("lanistr", "A transformer trained so that the vector of fewer views is near that of "
                    "all.",
         ("ebrahimi2023lanistr",), {"body": "sequence", "extra": "similar", "strength": 0.3},
         (_claim("attention", "6.6 % of AUROC on MIMIC-IV with 0.1 % of the labels, over the state "
                 "of the art, after pre-training.",
                 differs=f"{_FROZEN}; trained with the task and not before it, and no masked terms "
                 "within a view"),)),
    _net("joint-prediction", "Absent views are imputed from those present, then fused late.",
         ("kim2024joint", "bardes2022vicreg"), {"body": "predicted", "extra": "guessed"},
         (_claim("side", "Ahead of prompt methods on MM-IMDb, Food-101 and Hateful Memes where 70 "
                 "% of items lack a view.",
                 differs=f"{_FROZEN}; no prompts, guesses from the projections; that the loss is "
                 "VICReg's is checked against a summary, its weights are not"),)),
    _net("poe", "A product of one Gaussian expert per view, which reconstructs the views and "
                "decides.",
         ("wu2018mvae",), {"body": "poe", "extra": "bound"},
         (_claim("side", "No figure on deciding against networks that only decide."),),
         "experts"),
    _net("moe", "An even mixture of Gaussian experts.", ("shi2019mmvae",),
         {"body": "moe", "extra": "bound"},
         (_claim("poe", "Digits read from either view of MNIST-SVHN more often than by a product.",
                 ),), "experts"),
    _net("meme", "Gaussian experts, each of which is the prior of the others.", ("joy2022meme",),
         {"body": "moe", "extra": "mutual"},
         (_claim("moe", "Better coherence than product and mixture on MNIST-SVHN and CUB, whole "
                 "and in part.", fidelity="idea",
                 differs=f"{_FROZEN}; both priors fitted at once as in the authors' code, but "
                 "without its importance weights and pseudo-samples"),), "experts"),
)  # fmt: skip

BALANCED: tuple[Row, ...] = (
    _net("mcr", "Each view maximises what permuting it changes, and minimises what others' do.",
         ("kontras2025mcr",), {"body": "side", "balance": "competing", "strength": 0.1},
         (_claim("side", "Accuracy on CREMA-D, AVE and UCF above joint training and above earlier "
                 "ways of balance.",
                 differs=f"{_FROZEN}; the greedy game, without the bottleneck term; in the "
                 "authors' code, which it is checked against, the gradient of the decision "
                 "before permuting cancels, and here it is followed"),), "balance"),
    _net("umt", "Each view's layer is distilled from a network trained on the view alone.",
         ("du2023umt",), {"body": "side", "balance": "taught"},
         (_claim("side", "Top-1 on VGG-Sound and UCF101 above late fusion without teachers; "
                 "figures not taken over."),), "balance"),
    _net("harmonised", "Gradients of single-view losses, projected where they conflict.",
         ("wu2022harmonization",), {"body": "sequence", "balance": "harmonised"},
         (_claim("attention", "Pre-training on HowTo100M gains some points downstream by it; no "
                 "figure on deciding.", fidelity="idea",
                 differs=f"{_FROZEN}; losses of single views and not of couples, and no "
                 "curriculum; the projection is checked against the abstract only"),), "balance"),
)  # fmt: skip

ROWS = (*LINEAR, *PLAIN, *TRAINED, *BALANCED)
