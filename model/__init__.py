"""What a fitted CLV model is and how it answers. numpy, scipy and LightGBM only.

In the order the data flows:

- `btyd`: the buy-till-you-die formulas (BG/NBD, Gamma-Gamma) on the feature matrix;
- `clv`: `ClvModel`, trees and formulas blended: the one definition of inference;
- `predictions`: what comes out, and how horizons are made to agree;
- `baselines`: carry-forward and BG/NBD + Gamma-Gamma behind the same interface;
- `bundle`: the model on disk, hash-checked.
"""
