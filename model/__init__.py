"""What a fitted CLV model is and how it answers. numpy, scipy and LightGBM only.

In the order the data flows:

- `btyd`: the buy-till-you-die formulas (BG/NBD, Gamma-Gamma) on the feature matrix;
- `curve`: a smooth regression on what the formulas know;
- `clv`: `ClvModel`, trees, formulas and curve blended: the one definition of inference;
- `forest`, `scores`: the trees' scores, by tables or by LightGBM; `season`: what changes in horizons that begin later;
- `prior`: newcomers; `terms`: a margin and a discount rate;
- `spread`: prediction intervals, of customers and of sums; `predictions`: what comes out, and how horizons agree;
- `standing`: percentile, tier and RFM score in the base; `reasons`: effects in money;
- `baselines`: carry-forward and BG/NBD + Gamma-Gamma behind the same interface;
- `bundle`: the model on disk, hash-checked.
"""
