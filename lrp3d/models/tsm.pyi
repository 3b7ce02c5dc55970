from models.tsm import *
