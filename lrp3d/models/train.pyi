from models.train import *
