"""Values that the help of the command line shows. Nothing here imports torch, so that help appears at once."""

SIGMA = 0.975  # "We empirically set sigma to a high value, i.e., 97.5 %" (Sec. 3.2)
MIN_SCORE = 0.5  # only clips with a higher score count
LAYOUT = "bcthw"  # the axes of the clips that a model takes
TIMEOUT = 600.0  # seconds to read a clip
SEGMENT = "segment"  # partial uniform sampling: every frame sees the segment [l, r] of its ATR
CENTRED = "centred"  # every frame sees a window as long as its ATR, laid around it
FORMER_CENTRED = "atr"  # the former name of centred windows
MERGES = ("paper", "average")  # how logits of pathways of several rates become frame logits
COMPOSITES = ("alpha_beta", "attnlrp", "epsilon", "epsilon_gamma_box", "epsilon_plus", "paper")
TIME_VARIANTS = ("reversed", "shuffled", "frozen", "single")  # the ways in which studies change the time of clips
