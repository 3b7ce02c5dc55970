from models.pretrained import *
