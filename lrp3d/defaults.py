"""Values that the command line names in its help, which is to come at once: nothing here imports torch."""

SIGMA = 0.975  # "We empirically set sigma to a high value, i.e., 97.5 %" (Sec. 3.2)
MIN_SCORE = 0.5  # clips count whose score is above it
TIMEOUT = 600.0  # seconds to read a clip
SEGMENT = "segment"  # partial uniform sampling: every frame sees the segment [l, r] of its ATR
CENTRED = "centred"  # every frame sees a window as long as its ATR, laid around it
FORMER_CENTRED = "atr"  # what centred windows were called
MERGES = ("paper", "average")  # how logits of pathways of several rates become frame logits
COMPOSITES = ("alpha_beta", "attnlrp", "epsilon", "epsilon_gamma_box", "epsilon_plus", "paper")
TIME_VARIANTS = ("reversed", "shuffled", "frozen", "single")  # what studies do to the time of clips
