"""Changes that nobody could notice, and why."""

from __future__ import annotations

from benchmarks.mutating.tested import ROOT, RULES

KEEPING = [file for file in RULES if "\n    absorbs = False\n" in (ROOT / file).read_text(encoding="utf-8")]
"""The files of rules of which one absorbs nothing."""

JOINED = [file for file in RULES if "\n    elementwise = True\n" in (ROOT / file).read_text(encoding="utf-8")]
"""The files of rules under which large sums are shared in one piece."""

LONGEST = 60  # letters of a long change that are compared
HARMLESS: dict[tuple[str, str, str], str] = {
    (
        "lrp3d/interventions/exact_logits.py",
        "(same,) = answers([((own - logits).abs() <= SAME_LOGITS * (scale + scale.max())).all()])",
        "(own - logits).abs() <= SAME_LOGITS * (scale + scale.max()) -> "
        "(own - logits).abs() < SAME_LOGITS * (scale + scale.max())",
    ): "a difference of exactly the bound is rounding either way",
    (
        "lrp3d/rules/alpha_beta.py",
        "if abs(self.alpha - self.beta - 1) > 1e-9 or self.beta < 0:",
        "abs(self.alpha - self.beta - 1) > 1e-09 -> abs(self.alpha - self.beta - 1) >= 1e-09",
    ): "a difference of exactly 1e-9 is rounding either way",
    (
        "lrp3d/rules/contrast.py",
        "own, turned = (self.sign > 0).to(self.sign), (self.sign < 0).to(self.sign)",
        "0 -> 1",
    ): "signs are 1 and -1; of the two zeros, tests/test_lone_outputs.py notices the first",
    ("lrp3d/study/reporting/summary.py", '"columns": matrix.shape[-1],', "1 -> 2"): "matrices are square",
    **{
        (file, "elementwise = True", "True -> False"): (
            "large sums are not shared block by block, which takes longer; tests/test_rules_on_large_sums.py "
            "proves it the same"
        )
        for file in JOINED
    },
    (
        "lrp3d/rules/rule.py",
        'if "shares" in vars(cls) and "elementwise" not in vars(cls):',
        "'shares' in vars(cls) and 'elementwise' not in vars(cls) -> "
        "'shares' in vars(cls) or 'elementwise' not in vars(cls)",
    ): "large sums under a rule that only takes over the shares of another are not shared block by block",
    (
        "lrp3d/rules/epsilon.py",
        "return not self.epsilon",
        "return not self.epsilon -> return None",
    ): "the clip's map is propagated by itself instead of added up from rows, and is the same",
    **{
        (file, "absorbs = False", "False -> True"): (
            "a shortcut is not taken; test_a_rule_that_absorbs_nothing_hands_on_what_its_shares_would proves it is one"
        )
        for file in KEEPING
    },
    (
        "lrp3d/metrics/atr.py",
        "ends = torch.searchsorted(cumulative, targets, out_int32=True)",
        "True -> False",
    ): "the same numbers in more memory",
    (
        "lrp3d/sampling.py",
        "owner = torch.arange(len(clip), device=clip.device).repeat_interleave(left.shape[-1])",
        "torch.arange(len(clip), device=clip.device) -> torch.arange(len(clip))",
    ): "torch takes indices from the host as well",
    (
        "lrp3d/sampling.py",
        'budget = CPU_BUDGET if clip.device.type == "cpu" else GPU_BUDGET',
        "clip.device.type == 'cpu' -> clip.device.type != 'cpu'",
    ): "how much runs at once, not what comes out",
    (
        "lrp3d/metrics/aggregation.py",
        "score, predicted = wide.softmax(-1).max(-1)",
        "-1 -> +1",
    ): "logits have two axes, of which the last is the second",
    (
        "lrp3d/propagation/frame_logits.py",
        "if frames is None or not isinstance(record.output, Tensor) or min(frames[1:]) < 2:",
        "1 -> 2",
    ): "one class with its frames last is refused either way, as one logit for each frame",
    (
        "lrp3d/propagation/frame_logits.py",
        "starts = [Start(end, torch.cat(column)) for end, column in zip(ends, zip(*rows, strict=True), strict=True)]",
        "True -> False",
    ): "there are as many columns as ends: strict only says so",
    (
        "lrp3d/propagation/frame_logits.py",
        "sign = torch.where((seeds.logits < 0) == (logit < 0)[:, None], 1.0, -1.0).to(seeds.logits)  # (b, n)",
        "seeds.logits < 0 -> seeds.logits <= 0",
    ): "the seed of a logit of zero is zero, whatever its sign",
    (
        "lrp3d/propagation/frame_columns.py",
        "columns = Entries(edge_of(output), output, -1)",
        "-1 -> +1",
    ): "the last of two axes is the second",
    (
        "lrp3d/propagation/frame_columns.py",
        "count, each = len(frames), len(frames[0])",
        "0 -> 1",
    ): "every frame has as many entries, and there are at least two frames",
    (
        "lrp3d/operations/blocks.py",
        "FEW = 1 << 16  # values: what weighs logits has no more, and is kept as it is",
        "1 -> 2",
    ): "from how many values on a factor is kept as its signs, which share alike",
    (
        "lrp3d/operations/by_hand.py",
        "z = passes(torch.neg, exponent_of_x, gate=False, factor=-1.0)",
        "False -> True",
    ): "nothing but the sigmoid reads it, which is a gate by itself",
    (
        "lrp3d/steps/coefficients.py",
        "blocks = zip(*(t.view(-1).split(BLOCK) for t in (factor, z, quotient)), strict=True)",
        "zip(*(t.view(-1).split(BLOCK) for t in (factor, z, quotient)), strict=True) -> "
        "zip(*(t.view(-1).split(BLOCK) for t in (factor, z, quotient)))",
    ): "tensors of one shape have as many blocks: strict only says so",
    (
        "lrp3d/steps/softmax.py",
        "x = torch.where(torch.isinf(self.x), 0.0, self.x)",
        "0.0 -> 1.0",
    ): "whatever masks a score, by filling or by adding minus infinity, hands nothing on from there",
    (
        "lrp3d/steps/shares.py",
        "return all(first) and all(",
        "return all(first) and all((len(weights) == len(others) and all((v is other for v, other … -> return None",
    ): "shares are handed out one by one, which takes longer and gives the same",
    (
        "lrp3d/steps/shares.py",
        "_mapped_share(rule, operands, share, factor, z, all(all_of_rule))",
        "all -> any",
    ): "a rule hands everything on to all operands of a product or to none, as their shares are alike",
    (
        "lrp3d/operations/by_hand.py",
        'known |= {"nonnegative": True, "weighs": max(signal.weighs, Weighs.GATE)}',
        "True -> False",
    ): "negative parts of what is never negative are computed, and are zero",
}
"""By file, line of the source and change: why nobody could notice."""


def spelling(change: str) -> str:
    """A change as every version of Python writes it: they put parentheses elsewhere, so that long ones end elsewhere.

    >>> spelling("all((v for (v, w) in x)) -> None") == spelling("all((v for v, w in x)) -> None")
    True
    """
    sides = [side.replace("(", "").replace(")", "") for side in change.split(" -> ")]
    return " -> ".join(side[:LONGEST] if "…" in side else side for side in sides)


def why_harmless(file: str, line: str, change: str) -> str:
    """Why nobody could notice a change; empty where it is not known."""
    return _SPELLED.get((file, line, spelling(change)), "")


_SPELLED = {(file, line, spelling(change)): why for (file, line, change), why in HARMLESS.items()}
