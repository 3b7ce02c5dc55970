from models.training_run import *
